"""Tables of factors that are known: sparse ones, linear ones and two levels of them."""

from __future__ import annotations

import numpy as np
from sklearn.utils import Bunch, check_random_state

from skvae.datasets._generation import (
    as_frame,
    check_choice,
    check_correlation,
    check_count,
    check_scale,
    check_share,
    standardised,
)

Seed = int | np.random.RandomState | None

# Which of the seven columns of sparse factors depend on which of the two latents.
SPARSE_SUPPORT = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0, 1], [1, 1]], dtype=bool)
# Nonzero loadings are uniform between these in absolute value: none is nearly zero.
LOADINGS = (0.5, 1.5)
# Variances of diagonal noise are uniform between these, times the square of its scale.
NOISE_VARIANCES = (0.5, 1.5)
# A factor without columns of its own cannot be told from its mixtures with others.
OWN_COLUMNS = 2
# Units of the random networks between levels, and how far their inputs reach into the bends.
UNITS, BEND = 16, 2.5


def make_sparse_factors(
    n_samples: int = 500,
    *,
    correlation: float = 0.0,
    noise: float = 1.0,
    random_state: Seed = None,
) -> Bunch:
    """Seven columns that depend on two factors, six of them on one alone.

    The simulation of Moran et al. [1]_: ``(z1, z2)`` is Gaussian with mean 0, variances 1 and the
    given correlation, and with independent standard normal ``e``,

    - ``x1 = z1 + noise * e``, ``x2 = 2 z1 + noise * e``, ``x3 = 3 z1^2 + noise * e``,
    - ``x4 = 4 z2 + noise * e``, ``x5 = 5 z2 + noise * e``, ``x6 = 6 sin(z2) + noise * e``,
    - ``x7 = 7 z1 z2 + noise * e``.

    Parameters
    ----------
    n_samples : int, default=500
        Rows.
    correlation : float, default=0.0
        Of the two factors, from -1 to 1.
    noise : float, default=1.0
        Standard deviation of the noise of every column.
    random_state : int, RandomState or None, default=None
        Source of the draws. An int gives the same table on every call. The draws depend on
        `n_samples` only: with an int, other options change what they say and nothing else.

    Returns
    -------
    Bunch
        ``data``: DataFrame of shape (n_samples, 7). ``latents``: array of shape (n_samples, 2).
        ``support``: bool array of shape (7, 2), which columns depend on which factors. ``mean``:
        array of shape (n_samples, 7), the columns without noise.

    Raises
    ------
    ValueError
        If an option is out of range.

    References
    ----------
    .. [1] Moran, Sridhar, Wang and Blei (2022), Identifiable Deep Generative Models via Sparse
       Decoding. Transactions on Machine Learning Research.

    Examples
    --------
    >>> from skvae.datasets import make_sparse_factors
    >>> table = make_sparse_factors(100, random_state=0)
    >>> list(table.data.columns[table.support[:, 0]])  # those that depend on the first factor
    ['x1', 'x2', 'x3', 'x7']
    """
    n_samples = check_count(n_samples, "n_samples")
    correlation = check_correlation(correlation, "correlation")
    noise = check_scale(noise, "noise")
    random = check_random_state(random_state)
    first, other = random.standard_normal((2, n_samples))
    second = correlation * first + np.sqrt(1 - correlation**2) * other
    mean = np.column_stack(
        [
            first,
            2 * first,
            3 * first**2,
            4 * second,
            5 * second,
            6 * np.sin(second),
            7 * first * second,
        ]
    )
    return Bunch(
        data=as_frame(mean + noise * random.standard_normal(mean.shape)),
        latents=np.column_stack([first, second]),
        support=SPARSE_SUPPORT.copy(),
        mean=mean,
    )


def make_linear_factors(
    n_samples: int = 1000,
    n_features: int = 10,
    n_factors: int = 3,
    *,
    density: float = 1.0,
    noise: str = "diagonal",
    noise_scale: float = 0.5,
    random_state: Seed = None,
) -> Bunch:
    """Columns that are linear in standard normal factors: ``x = W z + e``.

    The model of factor analysis with ``noise="diagonal"``, and of probabilistic principal
    components (Tipping and Bishop 1999) with ``noise="isotropic"``. The covariance of the columns
    is ``W W' + diag(noise_variance)``.

    Parameters
    ----------
    n_samples : int, default=1000
        Rows.
    n_features : int, default=10
        Columns.
    n_factors : int, default=3
        Independent standard normal factors.
    density : float, default=1.0
        Share of the loadings that are not zero, rounded to a whole number of them. Below 1, every
        factor has two columns of its own, which depend on no other factor; what is left goes to
        columns that depend on nothing yet before any column gets several factors.
    noise : {"diagonal", "isotropic"}, default="diagonal"
        Whether each column has its own variance of noise, or all have the same.
    noise_scale : float, default=0.5
        Standard deviation of isotropic noise. The variances of diagonal noise are uniform between
        half its square and one and a half times it.
    random_state : int, RandomState or None, default=None
        Source of the draws. An int gives the same table on every call.

    Returns
    -------
    Bunch
        ``data``: DataFrame of shape (n_samples, n_features). ``latents``: array of shape
        (n_samples, n_factors). ``loadings``: array of shape (n_features, n_factors), ``W``; those
        that are not zero are uniform between 0.5 and 1.5, with random signs. ``noise_variance``:
        array of shape (n_features,). ``support``: bool array, where the loadings are not zero.
        ``mean``: array of shape (n_samples, n_features), the columns without noise.

    Raises
    ------
    ValueError
        If an option is out of range, or the density leaves too few or too many loadings for two
        columns of each factor's own.

    Examples
    --------
    >>> from skvae.datasets import make_linear_factors
    >>> table = make_linear_factors(n_features=12, n_factors=3, density=0.5, random_state=0)
    >>> float(table.support.mean())
    0.5
    """
    n_samples = check_count(n_samples, "n_samples")
    n_features = check_count(n_features, "n_features")
    n_factors = check_count(n_factors, "n_factors")
    density = check_share(density, "density")
    check_choice(noise, "noise", ("diagonal", "isotropic"))
    noise_scale = check_scale(noise_scale, "noise_scale")
    random = check_random_state(random_state)
    support = _support(n_features, n_factors, density, random)
    size = random.uniform(*LOADINGS, support.shape) * random.choice([-1.0, 1.0], support.shape)
    loadings = np.where(support, size, 0.0)
    spread = random.uniform(*NOISE_VARIANCES, n_features)
    variance = noise_scale**2 * (spread if noise == "diagonal" else np.ones(n_features))
    latents = random.standard_normal((n_samples, n_factors))
    mean = latents @ loadings.T
    return Bunch(
        data=as_frame(mean + np.sqrt(variance) * random.standard_normal(mean.shape)),
        latents=latents,
        loadings=loadings,
        noise_variance=variance,
        support=support,
        mean=mean,
    )


def make_two_level(
    n_samples: int = 1000,
    n_features: int = 12,
    n_top: int = 1,
    n_bottom: int = 4,
    *,
    explained: float = 0.8,
    noise: float = 0.3,
    random_state: Seed = None,
) -> Bunch:
    """Columns whose factors have factors themselves.

    - ``top``: independent and standard normal.
    - ``bottom = sqrt(explained) f(top) + sqrt(1 - explained) e``: `f` is a random network with a
      layer of tanh units, its outputs standardised.
    - ``x = g(bottom) + noise * e``: `g` is a random linear map plus such a network, both
      standardised and so is their sum.

    Given ``bottom``, the columns are independent of ``top`` and of each other.

    Parameters
    ----------
    n_samples : int, default=1000
        Rows, at least two.
    n_features : int, default=12
        Columns.
    n_top, n_bottom : int, default=1 and 4
        Factors of the two levels.
    explained : float, default=0.8
        Share of the variance of the bottom factors that the top ones explain, from 0 to 1.
    noise : float, default=0.3
        Standard deviation of every column's noise; without noise it has standard deviation 1.
    random_state : int, RandomState or None, default=None
        Source of the draws. An int gives the same table on every call. The draws depend on the
        sizes only: with an int, `explained` and `noise` change what they say and nothing else.

    Returns
    -------
    Bunch
        ``data``: DataFrame of shape (n_samples, n_features). ``top``: array of shape (n_samples,
        n_top). ``bottom``: array of shape (n_samples, n_bottom). ``bottom_mean``: array of the
        same shape, the mean of ``bottom`` given ``top``. ``mean``: array of shape (n_samples,
        n_features), the columns without noise.

    Raises
    ------
    ValueError
        If an option is out of range.

    Examples
    --------
    >>> from skvae.datasets import make_two_level
    >>> table = make_two_level(200, random_state=0)
    >>> table.top.shape, table.bottom.shape, table.data.shape
    ((200, 1), (200, 4), (200, 12))
    """
    n_samples = check_count(n_samples, "n_samples", least=2)
    n_features = check_count(n_features, "n_features")
    n_top, n_bottom = check_count(n_top, "n_top"), check_count(n_bottom, "n_bottom")
    explained = check_share(explained, "explained", zero=True)
    noise = check_scale(noise, "noise")
    random = check_random_state(random_state)
    top = random.standard_normal((n_samples, n_top))
    bottom_mean = np.sqrt(explained) * standardised(_bend(top, n_bottom, random))
    own = random.standard_normal(bottom_mean.shape)
    bottom = bottom_mean + np.sqrt(1 - explained) * own
    straight = standardised(bottom @ random.standard_normal((n_bottom, n_features)))
    mean = standardised(straight + standardised(_bend(bottom, n_features, random)))
    return Bunch(
        data=as_frame(mean + noise * random.standard_normal(mean.shape)),
        top=top,
        bottom=bottom,
        bottom_mean=bottom_mean,
        mean=mean,
    )


def _support(
    n_features: int, n_factors: int, density: float, random: np.random.RandomState
) -> np.ndarray:
    """Which loadings are not zero, (n_features, n_factors)."""
    if density == 1:
        return np.ones((n_features, n_factors), dtype=bool)
    own = OWN_COLUMNS * n_factors
    if n_features < own:
        raise ValueError(
            f"n_features={n_features} is too small for {OWN_COLUMNS} columns of each of "
            f"{n_factors} factors' own. Take at least {own} columns, or density=1."
        )
    shared = n_features - own
    most = own + shared * n_factors
    count = round(density * n_features * n_factors)
    if not own <= count <= most:
        least_share, most_share = own / (n_features * n_factors), most / (n_features * n_factors)
        raise ValueError(
            f"density={density:g} leaves no room for {OWN_COLUMNS} columns of each factor's own: "
            f"with {n_features} columns and {n_factors} factors it must lie between "
            f"{least_share:.3g} and {most_share:.3g}, or be 1."
        )
    support = np.zeros((n_features, n_factors), dtype=bool)
    support[np.arange(own), np.repeat(np.arange(n_factors), OWN_COLUMNS)] = True
    # The factors of the other columns in random order: all columns' first ones go before others.
    order = np.argsort(random.random_sample((shared, n_factors)), axis=1)
    turn = (np.arange(n_factors) > 0) + random.random_sample(order.shape)
    taken = np.argsort(turn, axis=None)[: count - own]
    support[own + taken // n_factors, order.ravel()[taken]] = True
    return support[random.permutation(n_features)]


def _bend(inputs: np.ndarray, n_outputs: int, random: np.random.RandomState) -> np.ndarray:
    """A random layer of tanh units of independent inputs with variance 1, (n, n_outputs)."""
    n_inputs = inputs.shape[1]
    slopes = BEND * random.standard_normal((n_inputs, UNITS)) / np.sqrt(n_inputs)
    hidden = np.tanh(inputs @ slopes + random.standard_normal(UNITS))
    return hidden @ random.standard_normal((UNITS, n_outputs)) / np.sqrt(UNITS)
