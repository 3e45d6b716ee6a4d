"""The fast lab: the family's algorithms on tiny models in one process of plain torch, to find out what to run for real.

EXPLORATION. No verl, Ray, FSDP or vLLM; one optimiser step per batch. It has the same algorithm files, plans, tokens,
rewards, weights and data order as a run (tests/contract/test_lab.py and test_lab_steps.py hold them to each other), but
another sampler, so no curve of it is a run's. What a statement rests on is made with run.py.
"""
