"""How the gallery runs and sorts the examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from sphinx_gallery.sorting import FileNameSortKey

# In the order of the guides; examples that are not named here come last.
STORIES = (
    "impute_dataframe",
    "intervals_and_draws",
    "imputation_diagnostics",
    "compare_mechanisms",
    "multiple_imputation",
    "missing_not_at_random",
    "pipeline_grid_search",
    "save_and_load",
    "mixed_table",
    "digits_latents",
    "explain_wine",
    "deep_convolutional_digits",
    "find_outliers",
    "few_labels_penguins",
    "few_labels_digits",
    "wine_blocks",
    "digit_halves",
)


class StoryOrder(FileNameSortKey):
    """Examples by their place among the stories, then by name."""

    def __call__(self, filename: Any) -> str:
        name = Path(filename).stem
        place = STORIES.index(name) if name in STORIES else len(STORIES)
        return f"{place:03d} {name}"


def reset(gallery_conf: dict[str, Any], filename: str) -> None:
    """Options that one example sets must not reach the next."""
    pd.reset_option("^display")
