"""Nodes that describe themselves by a schema: the words in which they do it, and what those words mean.

`io_words` has all names of `io` together; the modules beside it each own a part of them.
"""
