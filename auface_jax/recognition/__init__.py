"""Action units read from pictures and from texts by the recognisers of finished runs.

image_recognizer  faces -> probabilities, by a run of `au_image` or published weights
text_reader       descriptions -> probabilities, by a run of `au_text`
probe             pictures beside their references -> probabilities, by a run of `au_probe`
roles             networks that trained a generator must not evaluate it
finished_runs     the run that a command takes when its user names none
pictures          annotated pictures of the units read from image and video files
text_table        a table of the units read from a file of texts
"""
