"""The training tasks, each in its own file.

base          the interface, with defaults
registry      the tasks by name
vqgan         Stage I, with gradients in vqgan_gradients and plots in vqgan_plots
maskgit       Stage II, with augmentation in maskgit_batch and figures in maskgit_evaluation
au_image      the image AU recogniser
au_text       the text AU recogniser
au_probe      a small classifier that scores Stage II at the end of a run
"""
