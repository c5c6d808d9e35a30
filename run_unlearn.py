"""Train a RecBole recommender, make it forget a request, and report how well it forgot.

    python run_unlearn.py --model=SimGCL --dataset=ml-1m [--config_files="a.yaml b.yaml"] [--any_key=value ...]

Or apply real deletion requests to a saved model, through a store beside it.

    python run_unlearn.py --checkpoint=saved/MODEL.safetensors --forget_file=requests.csv [--dry_run | --exact]
    python run_unlearn.py --checkpoint=saved/MODEL.safetensors --prepare | --verify
"""

from recbole_unlearn.command_line import main

if __name__ == "__main__":
    main()
