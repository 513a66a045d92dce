"""The paper's tables and figures of generation on open faces. In the order of the work:

plan         runs that the tables take, with their configs and their progress
paper        the paper's figures, to compare with
sharing      work shared by several processes
tuning       one sweep for texts and for labels, scored on validation people
scores       one run's figures, from the report of its evaluation
results      known results of a study, which another machine can go on from
tables       means of all seeds with intervals, and their Markdown
figures      sheets of descriptions and faces
runner       training, evaluation and the page of a whole study
"""
