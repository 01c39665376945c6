"""Enterprise integration patterns that run: a room for each pattern, and a laboratory to watch them in.

`message` and `trace` are what all patterns share. The patterns need nothing but anyio; HTTP, gRPC and
encryption, which some of them offer, need the extra `course`. `lab` runs them in virtual time and draws what
happened, `field` puts them on real systems, `apps` shows them at work, `course` is what the lessons
bring, and `autograder` judges exercises.
"""
