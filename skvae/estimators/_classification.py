"""How a semi-supervised classifier is fitted.

M1 first: it fills holes and gives latents. Then logistic regressions, what neighbours make of them,
and with this as a teacher the networks and the class-conditional model. Held-out labels decide how
far each is trusted. Where latents are read, students of all that come last.
"""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import torch

from skvae.estimators._base import relative_weights
from skvae.estimators._chunked_labels import ChunkedClassifierFit
from skvae.estimators._class_density import ClassDensity, RowDensity
from skvae.estimators._class_probabilities import (
    ClassProbabilities,
    Sources,
    place,
    stack,
)
from skvae.estimators._density import DensityEstimator, warn_recovered
from skvae.estimators._labels import label_array, label_folds, read_labels
from skvae.estimators._latent import LatentModel, Rows
from skvae.estimators._latent_table import AGGREGATED_ROWS
from skvae.estimators._representation import ColumnVectors, LatentVectors
from skvae.estimators._students import teach
from skvae.estimators._training_rows import (
    TrainingRows,
    latent_tensors,
    linear_sources,
    references,
)
from skvae.inference.label_stack import shifted_prior
from skvae.inference.propagation import NeighbourGraph
from skvae.inference.scored import ScoredRows
from skvae.models.semi_supervised import Auxiliary, ClassConditionalVAE, LabelNetworks
from skvae.tabular.table import as_table
from skvae.training import Tensors
from skvae.training.density import DensityFitter, DensitySettings
from skvae.training.labels import Labels, LatentRows, RowSource, TableRows
from skvae.training.semi_supervised import SemiSupervisedSettings, SemiSupervisedTrainer

# Labels of every class that speak for the labels' own frequencies where others are learnt.
PRIOR_STRENGTH = 100.0
# Gradient steps of M1: where it only fills holes, and where it is the representation.
FEWEST_STEPS, FILLING_STEPS, LATENT_STEPS = 100, 1000, 8000
# Where it is the representation: latent dimensions of "auto", of which training folds away those
# that say nothing, the widest layer of wide tables, rows of a step on long ones, and autoencoders
# beside it.
MOST_LATENTS, WIDEST, LATENT_BATCH, N_SIBLINGS = 24, 480, 256, 2
# Weight of the divergence where the user leaves it open: latents to tell classes by may say more
# than the density of the table would have them say.
LATENT_BETA = 0.5
# Of classifier and class-conditional model, and how many rows and labels add one.
LABEL_STEPS, MOST_LABEL_STEPS, ROWS_PER_STEP, LABELS_PER_STEP = 500, 4000, 20, 4
# Latent dimensions of the second model, on top of M1's latents, at most.
MOST_UPPER_COMPONENTS = 10


class FittedClassifier(ChunkedClassifierFit, DensityEstimator):
    """Fitting of encoded rows; `model` names the generative story."""

    _latent: LatentModel
    _probabilities: ClassProbabilities
    _density: ClassDensity | RowDensity
    # Of the classes' odds; None for one over the labels' frequencies.
    _factors: np.ndarray | None

    def _read(self, X: Any, y: Any, sample_weight: Any) -> tuple[Rows, np.ndarray, np.ndarray]:
        """Encoded rows, codes and weights of the rows that count."""
        labels = None if y is None else label_array(y)
        rows, weight = self._fit_codec(X, sample_weight, fills=False)
        n_given = as_table(X).data.shape[0]
        if labels is not None and len(labels) == n_given and len(weight) < n_given:
            given = np.asarray(sample_weight, dtype=float)
            labels = labels[relative_weights(given) > 0]  # rows of weight 0 are not there
            n_given = len(weight)
        self.classes_, codes = read_labels(labels, n_given)
        encoded = Rows(*self._codec.encode(rows))
        if self.checkpoint is not None:  # labels are part of what is learnt from
            self._identify(encoded.values, encoded.observed, weight, codes)
        return encoded, codes, weight

    def _fit_classifier(self, rows: Rows, codes: np.ndarray, weight: np.ndarray) -> None:
        random = np.random.RandomState(self._seed())
        data = self._fit_first_model(rows, weight, random)
        n_features = data.features.shape[1]
        seed = int(random.randint(2**31 - 1))
        reads_latents = self.model in ("m1", "m1+m2")
        representation: ColumnVectors | LatentVectors
        if reads_latents:
            siblings = self._fit_siblings(data, random)
            representation = LatentVectors([self._latent, *siblings], rows, seed)
        else:
            representation = ColumnVectors(self._latent, rows, seed)
        train = TrainingRows(
            rows,
            codes,
            label_folds(codes, random),
            weight / weight.mean(),
            representation.versions(rows),
            np.bincount(codes[codes >= 0], weights=weight[codes >= 0]),
        )
        sources = linear_sources(train, random)
        chosen = references(train.known, len(codes), random)
        graph = NeighbourGraph.build(
            place(representation, train.versions[:, chosen]), int(self.n_neighbors)
        )
        predicted = self._stack(representation, sources, graph, train, chosen)
        data, source = self._second_table(representation, data, train)
        teacher = self._believed(predicted, train, chosen)
        model = self._class_model(data, train, teacher, random)
        if self._hidden and self.max_iter != 0:
            networks = self._train(model, sources, source, train, teacher, random)
            sources = replace(sources, networks=networks, model=model)
            predicted = self._stack(representation, sources, graph, train, chosen)
            if reads_latents:
                hidden, batch = self._latent_hidden(n_features), self._latent_batch(len(chosen))
                settings = replace(self._label_settings(train), batch_size=batch)
                students = teach(predicted, source, train, chosen, hidden, settings, random)
                sources = replace(sources, students=students)
                predicted = self._stack(representation, sources, graph, train, chosen)
        else:
            model.eval().requires_grad_(False)
        self._probabilities = predicted
        self._n_features_out = self.n_components_ if reads_latents else model.vae.n_components
        believed = self._believed(predicted, train, chosen) * predicted.odds
        codes = np.where(codes >= 0, codes, believed.argmax(axis=1))
        self.transduction_ = self.classes_[codes]
        if self.model == "m1":
            self._density = self._density_of_rows(train, believed)
        else:
            self._density = ClassDensity(self._latent, model, representation, self.label_prior_)

    def _scored_rows(self, X: Any) -> ScoredRows:
        """Rows beside the models of all classes."""
        return self._density.scored(self._rows(X))

    # Steps ----------------------------------------------------------------------------------

    def _fit_first_model(
        self, rows: Rows, weight: np.ndarray, random: np.random.RandomState
    ) -> Tensors:
        """M1: it fills holes, gives latents, and is a density of its own."""
        encoded = self._tensors(rows.values, rows.observed, weight)
        if encoded is None:
            self._refuse_constant_table(len(weight), "tell classes by")
        data, scaler = encoded
        self._check_width(self.n_components, data.features.shape[1])
        seed = int(random.randint(2**31 - 1))
        model, report = DensityFitter(data, self._first_settings(data), seed).fit()
        self._latent = LatentModel(model, scaler, seed)
        self._publish_density(report)
        return data

    def _first_settings(self, data: Tensors) -> DensitySettings:
        (n, n_features), hidden = data.features.shape, self._hidden
        if self.model not in ("m1", "m1+m2"):
            most = FEWEST_STEPS if bool(data.observed.all()) else FILLING_STEPS
            steps = int(np.clip(2 * n, FEWEST_STEPS, most))
            return self._density_settings(hidden, steps, cautious=True)
        hidden = self._latent_hidden(n_features)
        n_latents = max(1, min(MOST_LATENTS, n_features // 2))
        return self._density_settings(
            hidden,
            int(np.clip(4 * n, FEWEST_STEPS, LATENT_STEPS)),
            batch_size=self._latent_batch(n),
            cautious=True,
            beta=LATENT_BETA if self.beta == "auto" else float(self.beta),
            n_components=self.n_components if self.n_components != "auto" else n_latents,
        )

    def _latent_hidden(self, n_features: int) -> tuple[int, ...]:
        """Hidden layers where latents are made and read."""
        if self.hidden_layer_sizes != "auto":
            return self._hidden
        # Wide tables, images for one, have more to compress.
        wide = 16 * round(min(n_features / 1.5, WIDEST) / 16)
        return tuple(max(size, wide) for size in self._hidden)

    def _latent_batch(self, n_rows: int) -> int:
        """Rows of a step there."""
        return max(int(self.batch_size), LATENT_BATCH if n_rows > LATENT_STEPS else 1)

    def _fit_siblings(self, data: Tensors, random: np.random.RandomState) -> list[LatentModel]:
        """Autoencoders like M1 from other random numbers."""
        if not self._hidden or self.max_iter == 0:
            return []  # they would be the same
        settings = self._first_settings(data)
        out = []
        for _ in range(N_SIBLINGS):
            seed = int(random.randint(2**31 - 1))
            model, _report = DensityFitter(data, settings, seed).fit()
            out.append(LatentModel(model, self._latent.scaler, seed))
        return out

    def _stack(
        self,
        representation: ColumnVectors | LatentVectors,
        sources: Sources,
        graph: NeighbourGraph,
        train: TrainingRows,
        chosen: np.ndarray,
    ) -> ClassProbabilities:
        """Weigh the sources and learn ``p(y)``."""
        n_classes = len(self.classes_)
        labelled = train.labels_of(chosen)
        mixture, candidates = stack(sources, graph, train.versions[:, chosen], labelled)
        self.label_prior_ = self._learn_prior(mixture(candidates), train, chosen)
        factors = 1 / (n_classes * train.assumed) if self._factors is None else self._factors
        odds = self.label_prior_ / train.assumed * factors
        return ClassProbabilities(representation, sources, graph, mixture, candidates, odds)

    def _believed(
        self, probabilities: ClassProbabilities, train: TrainingRows, chosen: np.ndarray
    ) -> np.ndarray:
        """Probabilities of all training rows, under the labels' frequencies, (n, n_classes)."""
        out = np.empty((len(train.codes), len(self.classes_)))
        out[chosen] = probabilities.mixture(probabilities.references)
        others = np.setdiff1d(np.arange(len(out)), chosen)
        if others.size:
            out[others] = probabilities.without_odds(train.versions[:, others])
        return out

    def _second_table(
        self,
        representation: ColumnVectors | LatentVectors,
        data: Tensors,
        train: TrainingRows,
    ) -> tuple[Tensors, RowSource]:
        """What the class-conditional model is a model of: the table, or M1's latents."""
        if not isinstance(representation, LatentVectors):
            return data, TableRows(data, torch.as_tensor(train.versions))
        moments = representation.moments(train.rows)
        mean, std = (torch.as_tensor(part).float() for part in moments)
        own = representation.n_own
        return latent_tensors(mean[:, :own], data.weight), LatentRows(mean, std, own)

    def _class_model(
        self,
        data: Tensors,
        train: TrainingRows,
        teacher: np.ndarray,
        random: np.random.RandomState,
    ) -> ClassConditionalVAE:
        """The class-conditional model before training: linear in what the teacher believes."""
        generator = torch.Generator().manual_seed(int(random.randint(2**31 - 1)))
        n_classes, k = len(self.classes_), self.n_components_
        context = torch.as_tensor(teacher).float()
        auxiliary = None
        if self.model in ("m1", "m1+m2"):
            k = max(1, min(MOST_UPPER_COMPONENTS, k - 1))
        elif self.model != "m2" and self._hidden:
            skip = self.model == "skip_auxiliary"
            width = train.versions.shape[2]
            auxiliary = Auxiliary(width, k, n_classes, k, self._hidden, generator, skip)
            noise = torch.randn(len(context), k, generator=generator)
            context = torch.cat([context, noise], dim=1)
        settings = self._density_settings(self._hidden, 1, n_components=k, cautious=True)
        fitter = DensityFitter(
            replace(data, context=context), settings, int(random.randint(2**31 - 1))
        )
        vae = fitter.start(n_classes if self.model == "auxiliary" else None)
        return ClassConditionalVAE(vae, auxiliary)

    def _train(
        self,
        model: ClassConditionalVAE,
        sources: Sources,
        source: RowSource,
        train: TrainingRows,
        teacher: np.ndarray,
        random: np.random.RandomState,
    ) -> LabelNetworks:
        """Networks and class-conditional model, the latter in place."""
        generator = torch.Generator().manual_seed(int(random.randint(2**31 - 1)))
        folds = slice(0, sources.n_folds)
        networks = LabelNetworks(
            sources.coefficients[folds].repeat(2, 1, 1),
            sources.intercepts[folds].repeat(2, 1),
            self._hidden,
            generator,
            0 if model.auxiliary is None else model.auxiliary.n_auxiliary,
        )
        labels = Labels(
            torch.as_tensor(train.codes),
            torch.as_tensor(train.fold),
            torch.as_tensor(train.weight).float(),
            torch.as_tensor(self.label_prior_).float(),
            torch.as_tensor(train.assumed).float(),
            torch.as_tensor(teacher).float(),
        )
        history = SemiSupervisedTrainer(
            model if self.model != "m1" else None,
            networks,
            source,
            labels,
            self._label_settings(train),
            generator,
        ).fit()
        self.loss_curve_, self.validation_scores_ = history.loss, history.scores
        self.n_iter_ = max(history.n_iter, 1)
        if history.recovered:
            warn_recovered(history.n_iter)
        return networks

    def _label_settings(self, train: TrainingRows) -> SemiSupervisedSettings:
        steps = min(LABEL_STEPS, 4 * len(train.codes)) + len(train.codes) // ROWS_PER_STEP
        steps = min(steps + len(train.known) // LABELS_PER_STEP, MOST_LABEL_STEPS)
        return SemiSupervisedSettings(
            classifier_weight=float(self.classifier_weight),
            beta=self._beta,
            n_importance_samples=int(self.n_importance_samples),
            max_iter=steps if self.max_iter == "auto" else int(self.max_iter),
            batch_size=int(self.batch_size),
            learning_rate=float(self.learning_rate_init),
            weight_decay=float(self.alpha),
            early_stopping=bool(self.early_stopping),
            validation_fraction=float(self.validation_fraction),
            n_iter_no_change=int(self.n_iter_no_change),
            tol=float(self.tol),
        )

    @property
    def _beta(self) -> float:
        return 1.0 if self.beta == "auto" else float(self.beta)

    # Classes --------------------------------------------------------------------------------

    def _learn_prior(
        self, probabilities: np.ndarray, train: TrainingRows, chosen: np.ndarray
    ) -> np.ndarray:
        """``p(y)``, by `label_prior`."""
        n_classes = len(self.classes_)
        if self.label_prior == "uniform":
            return np.full(n_classes, 1 / n_classes)
        if self.label_prior == "empirical":
            return train.assumed
        strength = PRIOR_STRENGTH * n_classes
        return shifted_prior(probabilities, train.assumed, train.weight[chosen], strength)

    def _class_factors(self) -> np.ndarray | None:
        """What `class_weight` multiplies the classes' odds by; None for "balanced"."""
        known = self.classes_.tolist()
        if self.class_weight == "balanced":
            return None
        weights = dict(self.class_weight or {})
        unknown = [label for label in weights if label not in known]
        if unknown:
            raise ValueError(
                f"class_weight names the classes {unknown}, which y does not have: {known[:20]}."
            )
        for label, weight in weights.items():
            if not isinstance(weight, Real) or not 0 < weight < np.inf:
                raise ValueError(
                    f"class_weight[{label!r}] must be a positive number, got {weight!r}."
                )
        return np.array([float(weights.get(label, 1.0)) for label in known])

    def _density_of_rows(self, train: TrainingRows, believed: np.ndarray) -> RowDensity:
        """M1's: training rows stand for the classes that they have, or are believed to have."""
        some = slice(AGGREGATED_ROWS)
        given = train.codes[some, None]
        shares = np.where(given >= 0, given == np.arange(len(self.classes_)), believed[some])
        # A class that none of these rows has is drawn around those that look most like it.
        shares = np.maximum(shares, 1e-12 * believed[some])
        return RowDensity(self._latent, shares, *self._latent.moments(train.rows.take(some)))
