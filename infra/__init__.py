"""How dermbatch is built, deployed, and run on one machine without an account.

embedded_aws       starts and stops an emulated AWS; emulator_process is its process
template           template.yaml as data
stack              deploys the template to the embedded AWS
worker_loop        feeds the handler from a queue, as Lambda would
local_stack        the stack with its state in a folder; state_folder says who uses it, standing where it is reached
lambda_contract    event, context and response between Lambda and a handler
__main__           `python -m infra`: the stack as long as you develop against it
"""
