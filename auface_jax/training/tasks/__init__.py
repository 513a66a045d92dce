"""Training tasks, one file each.

base          the interface, with defaults
registry      the tasks by name
vqgan         Stage I; its gradients in vqgan_gradients, its plots in vqgan_plots
maskgit       Stage II; its batches in maskgit_batch, its figures in maskgit_evaluation
au_image      the image AU recogniser
au_text       the text AU recogniser
au_probe      a small classifier that scores Stage II at the end of a run
"""
