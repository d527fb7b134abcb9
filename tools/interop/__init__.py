"""Other real servers and programs than the stack's: each is fetched, run against, and written into a page.

Run by `make interop`. Each counterpart runs in a network of its own that has nothing but loopback, so a
server that binds to every address is seen by nobody else.
"""
