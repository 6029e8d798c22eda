"""What Business Messages and RCS share because both are APIs of Google's: signatures, access tokens, names, answers. A
library of those two sources; it is none itself.
"""
