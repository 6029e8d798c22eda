"""What Messenger and Instagram share because one Meta app brings both: signatures, the envelope, elements, the Graph
API. A library of those two sources; it is none itself.
"""
