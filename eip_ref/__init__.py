"""Enterprise integration patterns that run: one module per pattern, and a laboratory to watch them in.

`message` and `trace` are what all patterns share. The patterns themselves need nothing but anyio.
`lab` runs them in virtual time and draws what happened; `autograder` judges exercises.
"""
