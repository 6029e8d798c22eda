"""`airy doctor`: finds the cause of what is wrong with an installation, and says the next step.

`catalogue` lists the checks: pure decisions over facts (`checks_*`). `gather_*` gather the facts, each kind within
`gather.GATHER_S`; `examination` decides the checks in order; `report` formats the result.
"""
