"""Train a RecBole recommender, make it forget a request, and report how well it forgot.

    python run_unlearn.py --model=SimGCL --dataset=ml-1m [--config_files="a.yaml b.yaml"] [--any_key=value ...]
"""

from recbole_unlearn.command_line import main

if __name__ == "__main__":
    main()
