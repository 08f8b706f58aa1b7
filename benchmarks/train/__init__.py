"""Times fine-tuning beside TRL's `SFTTrainer`, on the same model, data and hyperparameters.

    python -m benchmarks.train [--quick] [--repeats N] [--rows N] [--system N] [--gpu] [--tiny]

SmolLM2-135M-Instruct learns the construction FAQ (every fifth row is held out), LoRA r=16 on all
linear layers. The contestants take turns, each in a process of its own; `contest.py` says with what
settings and why they are fair. A step of each is about eight conversations, so all take the same
number of optimizer steps, or nearly, and all see the same tokens: that is checked, not assumed.

In the first round the held-out loss is taken now and then, outside the timed part; the later rounds
are timed alone. In the end one judge, plain transformers and PEFT in float32, measures every
adapter that came out. A table follows and, last, one JSON line, whose names `score.py` explains.
"""
