"""How good are the pictures of a system, this one's or another's? In the order data flows:

population   the records that are asked for, with their texts, references and real pictures
prompts      the same as a folder for an outside system, and its pictures back, all or none
drawing      the pictures of a Stage II run
scorer       the recogniser that judges: probabilities and features, once a picture
kept         readings of real pictures and references, kept from one evaluation to the next
views        each set of pictures, looked at once
groups       whom the records know to be alike: skin tone, lines of age, person
scores       every figure, from the readings
findings     all figures of one evaluation, and as JSON
measures     which figures can be had, and having them
report       report.json, report.md, records.csv
plots        pictures of the figures

and, apart from these, `recognizers`: how well those that may judge read labelled pictures.
"""
