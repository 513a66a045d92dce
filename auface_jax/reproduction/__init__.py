"""The paper's tables and figures of generation again, on open faces. In the order it happens:

plan         which runs that takes, what each is trained with, and how far each is
paper        the paper's figures, to stand beside
sharing      several processes, each at what nobody else is at
tuning       the same sweep for texts and for labels, judged on validation people
scores       one run's figures, from the report of its evaluation
results      what is known of a study, and how another machine goes on from it
tables       figures of all seeds with intervals, and Markdown of them
figures      descriptions and faces to look at
"""
