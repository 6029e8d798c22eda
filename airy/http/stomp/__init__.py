"""STOMP 1.0, 1.1 and 1.2 over websockets, independent of what is sent: codec, session as a table, and the socket.

Specifications: https://stomp.github.io/stomp-specification-1.2.html and its predecessors.
"""
