"""The paper's tables and figures of generation again, on open faces. In the order it happens:

plan         which runs that takes, what each is trained with, and how far each is
paper        the paper's figures, to stand beside
tuning       the same sweep for texts and for labels, judged on validation people
scores       one run's figures, from the report of its evaluation
tables       figures of all seeds with intervals, and Markdown of them
figures      descriptions and faces to look at
"""
