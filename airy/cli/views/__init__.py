"""The views of the command line, one module for each group of commands. They are imported inside of commands.

`airy.cli.schemas` finds every `View` in these modules and publishes its schema.
"""
