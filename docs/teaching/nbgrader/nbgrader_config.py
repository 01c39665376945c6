"""nbgrader's settings for this course. Put the file into the folder from which you run nbgrader."""

c = get_config()  # noqa: F821  (nbgrader provides it)

c.CourseDirectory.course_id = "patterns"

# The notebooks in exercises/ are the learners' versions already, some with broken code to mend.
# Without this, nbgrader would replace that code by "raise NotImplementedError()".
c.ClearSolutions.enabled = False

# An endless loop costs its own exercise and not the whole notebook. Seconds for each cell.
c.ExecutePreprocessor.timeout = 20
c.ExecutePreprocessor.interrupt_on_timeout = True
