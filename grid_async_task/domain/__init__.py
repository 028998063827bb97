"""The rules of a task: what states it has, what may happen next, what goes over the wire.

Standard library only, no input or output, no clock of its own: everything here can be
called in a test without preparation.
"""
