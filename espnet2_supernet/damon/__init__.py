"""S6-DAMON: fewer frames (SALAD) and fewer structures (SAFARI) for a trained recogniser.

Only the abstracts of S6-DAMON (OpenReview 3dH2aqKGzZe and 5qxdlSyyB3) and what reviewers wrote
about it are public. What is here is a reconstruction under our own choices, which each module
names; it claims no number of the paper.

SALAD, in reading order: ``labels`` (what a teacher says of every frame, and which frames start a
run), ``detector`` (which frames are salient, told from the past), ``rules`` (the detector and its
baselines as token-keep rules), ``feasibility`` (what CTC needs at least). SAFARI lives in
``sparsity``: the schedule ``prune_and_grow`` (``growth``), over what can be cut out (``units``).
"""
