"""Scores of a system's pictures, whether this project's or another's. In the order data flows:

population   records of a split with their texts, references and real pictures
prompts      the same as a folder for an outside system, and its pictures back, all or none
draw_system  pictures of a Stage II run
evaluator    the recogniser that scores: probabilities and features, once a picture
cache        readings of real pictures and references, kept from one evaluation to the next
extraction   units and features of each set of pictures, extracted once
groups       groups of records: by skin tone, lines of age, person
scores       every figure, from the readings
results      all figures of one evaluation, and their JSON
run_metrics  choice and computation of the metrics
report       report.json, report.md, records.csv
report_page  the page report.md
plots        plots of the figures
run          one whole evaluation, from its options to the report

Apart from these, `recognizers` scores recognisers on labelled pictures, `cross_validation` trains
and scores a recogniser fold by fold, and `reconstruction` measures Stage I's reconstructions.
"""
