"""Evaluation of models with vLLM and the reward functions training uses. Imports no trainer."""
