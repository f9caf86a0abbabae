"""`voicespan doctor`: why no traces arrive, seen from where they should leave.

Each module looks at one thing and yields findings; none of them changes anything, and none may fail
because something is broken: that is when it is asked.
"""
