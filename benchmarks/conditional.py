"""Digits on demand: how often a classifier takes a drawn digit for its label. See README.md.

    python benchmarks/conditional.py

Half of scikit-learn's digits fit the conditional VAE, the other half a support vector classifier
that judges what it draws. All three forms of conditioning, several seeds of split and fit.
"""

from __future__ import annotations

import argparse

from imputation import limit_threads

N_DRAWS = 200  # per label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--n-components", type=int, default=24)
    args = parser.parse_args()
    limit_threads(1)

    import numpy as np
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.svm import SVC

    from skvae import VAETransformer

    torch.set_num_threads(1)
    X, y = load_digits(return_X_y=True)
    table, labels = np.column_stack([X, y]), np.repeat(np.arange(10), N_DRAWS)
    print(f"{'':6}{'form':10}{'drawn':>8}{'altered':>9}{'log p(x|c)':>12}   real: classifier")
    for seed in map(int, args.seeds.split(",")):
        train, test = train_test_split(table, test_size=0.5, random_state=seed, stratify=y)
        judge = SVC(C=10).fit(test[:, :64], test[:, 64])
        real = judge.score(train[:, :64], train[:, 64])
        for form in ("decoder", "prior", "both"):
            model = VAETransformer(
                args.n_components,
                condition_on=[64],
                conditioning=form,
                column_types={64: "categorical"},
                random_state=seed,
            ).fit(train)
            drawn = model.sample(len(labels), condition=labels[:, None], random_state=seed)
            share = (judge.predict(drawn[:, :64]) == labels).mean()
            wanted = (test[:, 64] + 1) % 10  # every held-out digit as the next one
            altered = model.counterfactual(test, condition=wanted[:, None])
            kept = (judge.predict(altered[:, :64]) == wanted).mean()
            figures = f"{share:8.3f}{kept:9.3f}{model.score(test):12.2f}   {real:.3f}"
            print(f"{seed:<6}{form:10}{figures}", flush=True)


if __name__ == "__main__":
    main()
