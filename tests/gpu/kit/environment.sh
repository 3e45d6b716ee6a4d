# source tests/gpu/kit/environment.sh SITE: the packages of the kit before the machine's own.
export PYTHONPATH="$1" PYTHONUNBUFFERED=1
# What the kit leaves out (FlashInfer), and compiled graphs kept from one start to the next.
export VLLM_USE_FLASHINFER_SAMPLER=0 VLLM_DISABLE_COMPILE_CACHE=0
# There is no hub to ask.
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
