"""The ridge posterior: `alice_rl/online/linucb.py`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from river.linear_model import BayesianLinearRegression

from alice_rl.online.linucb import Solution, maximise_evidence, solve, standardiser

Array = npt.NDArray[np.float64]


class World(NamedTuple):
    """Rows of several arms and their moments."""

    X: Array
    Y: Array
    arm: npt.NDArray[np.intp]
    moments: tuple[Array, Array, Array, Array]


WEIGHTS = np.array([2.0, -0.5])


def sums(X: Array, Y: Array, arm: npt.NDArray[np.intp], arms: int) -> tuple[Array, Array, Array, Array]:
    """`n`, `G`, `B`, `Y` per arm."""
    rows = [arm == k for k in range(arms)]
    return (
        np.array([float(k.sum()) for k in rows]),
        np.stack([X[k].T @ X[k] for k in rows]),
        np.stack([X[k].T @ Y[k] for k in rows]),
        np.stack([Y[k].T @ Y[k] for k in rows]),
    )


def make_world(seed: int = 0, rows: int = 300, arms: int = 3) -> World:
    """Correlated numerics far from 0 and of unequal scale, an indicator, a constant and an unseen column."""
    rng = np.random.default_rng(seed)
    numerics = rng.normal([7.0, -0.3, 0.02], [0.8, 2.0, 0.05], (rows, 3))
    numerics[:, 1] += 0.5 * numerics[:, 0]
    indicator, constant, unseen = rng.random(rows) < 0.1, np.full(rows, 3.0), np.zeros(rows)
    X = np.c_[np.ones(rows), numerics, indicator, constant, unseen]
    Y = X @ rng.normal(0.0, 0.3, (X.shape[1], 2)) + rng.normal(0.0, 0.4, (rows, 2))
    arm = rng.integers(0, arms, rows)
    return World(X, Y, arm, sums(X, Y, arm, arms))


@pytest.fixture(name="world")
def fixture_world() -> World:
    """Three arms, 300 turns."""
    return make_world()


@pytest.mark.parametrize(("prior", "noise"), [(1.0, 1.0), (0.25, 4.0), (3.0, 0.5)])
def test_theta_is_rivers_posterior_mean(world: World, prior: float, noise: float) -> None:
    """Without standardisation, `theta` and width are those of river's posterior with `lam = alpha / beta`."""
    solution = solve(*world.moments, WEIGHTS, lam=prior / noise, standardise=False)
    for k in range(3):
        model = BayesianLinearRegression(alpha=prior, beta=noise)
        for x, y in zip(world.X[world.arm == k], world.Y[world.arm == k], strict=True):
            model.learn_one(dict(enumerate(x)), float(y @ WEIGHTS))
        for x in world.X[:5]:
            expected = model.predict_one(dict(enumerate(x)), with_dist=True)
            mean, width = solution.estimate(x)
            assert mean[k] == pytest.approx(expected.mu, rel=1e-8)
            assert width[k] ** 2 / noise == pytest.approx(expected.sigma**2 - 1.0 / noise, rel=1e-6)


@pytest.mark.parametrize("lam", [0.1, 1.0, 30.0])
def test_standardised_solution_is_ridge_on_z_scores(world: World, lam: float) -> None:
    """`theta` in raw features predicts what ridge regression on explicitly z-scored rows predicts."""
    X, varies = world.X, world.X.std(axis=0) > 0.0
    mean, sd = np.where(varies, X.mean(axis=0), 0.0), np.where(varies, X.std(axis=0), 1.0)
    Z = (X - mean) / sd
    solution = solve(*world.moments, WEIGHTS, lam=lam)
    for k in range(3):
        rows = Z[world.arm == k]
        coefficients = np.linalg.solve(rows.T @ rows + lam * np.eye(7), rows.T @ world.Y[world.arm == k] @ WEIGHTS)
        np.testing.assert_allclose(X @ solution.theta[k], Z @ coefficients, rtol=1e-9, atol=1e-9)


def test_factor_is_the_inverse_precision(world: World) -> None:
    """`|factor x|^2` is `x' T' A^-1 T x` by an explicit inverse, and the factor is lower triangular."""
    _, G, _, _ = world.moments
    T = standardiser(G)
    solution = solve(*world.moments, WEIGHTS, lam=0.7)
    for k in range(3):
        inverse = T.T @ np.linalg.inv(T @ G[k] @ T.T + 0.7 * np.eye(7)) @ T
        for x in world.X[:20]:
            assert np.sum((solution.factor[k] @ x) ** 2) == pytest.approx(x @ inverse @ x, rel=1e-9)
    assert (np.triu(solution.factor, 1) == 0.0).all()


def test_stored_units_are_scaled_at_solve_time(world: World) -> None:
    """Integer moments with their units give the solution of the same rows in real units."""
    x_unit, y_unit = 1.0 / 256.0, np.array([1.0, 0.25])
    X, Y = np.round(world.X / x_unit), np.round(world.Y / y_unit)
    stored = solve(*sums(X, Y, world.arm, 3), WEIGHTS, x_unit=x_unit, y_unit=y_unit)
    real = solve(*sums(X * x_unit, Y * y_unit, world.arm, 3), WEIGHTS)
    np.testing.assert_allclose(stored.theta, real.theta, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(stored.factor, real.factor, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(stored.noise_variance, real.noise_variance, rtol=1e-9)


def test_weights_combine_components(world: World) -> None:
    """Solving with weights is solving the weighted reward, and it is linear in the weights."""
    n, G, B, Y = world.moments
    whole = solve(n, G, B, Y, WEIGHTS)
    single = solve(n, G, (B @ WEIGHTS)[:, :, None], (WEIGHTS @ Y @ WEIGHTS)[:, None, None], np.ones(1))
    parts = [solve(n, G, B, Y, WEIGHTS * unit).theta for unit in np.eye(2)]
    np.testing.assert_allclose(whole.theta, single.theta, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(whole.theta, sum(parts), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("regularization", ["fixed", "evidence"])
def test_untried_arms_have_the_prior(world: World, regularization: str) -> None:
    """An arm without turns has `theta = 0`, `factor = T / sqrt(lam)` and twice the width."""
    n, G, B, Y = (np.concatenate([part, np.zeros_like(part[:1])]) for part in world.moments)
    solution = solve(n, G, B, Y, WEIGHTS, lam=4.0, alpha=0.5, regularization=regularization)  # type: ignore[arg-type]
    assert (solution.theta[3] == 0.0).all()
    np.testing.assert_allclose(solution.factor[3], standardiser(G) / 2.0, rtol=1e-12)
    assert solution.alpha[3] == 1.0
    assert solution.lam[3] == 4.0
    assert solution.noise_variance[3] == 1.0


def test_no_data_at_all_is_the_prior() -> None:
    """Without a single turn the solution is the prior in raw features."""
    solution = solve(np.zeros(2), np.zeros((2, 3, 3)), np.zeros((2, 3, 2)), np.zeros((2, 2, 2)), WEIGHTS, lam=0.25)
    assert (solution.theta == 0.0).all()
    np.testing.assert_array_equal(solution.factor, np.stack([2.0 * np.eye(3)] * 2))


def test_adding_a_row_narrows_its_own_width(world: World) -> None:
    """Seeing `x` narrows the width at `x`, in raw features by exactly Sherman and Morrison's amount."""
    n, G, B, Y = world.moments
    x = world.X[0]
    before = solve(n, G, B, Y, WEIGHTS, standardise=False).estimate(x)[1]
    after = solve(n + 1.0, G + np.outer(x, x), B, Y, WEIGHTS, standardise=False).estimate(x)[1]
    np.testing.assert_allclose(after**2, before**2 / (1.0 + before**2), rtol=1e-7)


@pytest.mark.parametrize("lam", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("regularization", ["fixed", "evidence"])
def test_near_singular_moments_are_solved(lam: float, regularization: str) -> None:
    """Duplicate columns, huge counts and extreme priors give finite numbers, not a crash."""
    rng = np.random.default_rng(3)
    x = rng.normal(16.0, 0.01, 4000)
    X = np.c_[np.ones(4000), x, x, x + 1e-9, 1e-7 * x]
    n, G, B, Y = (part * 1e6 for part in sums(X, x[:, None], np.zeros(4000, dtype=np.intp), 1))
    solution = solve(n, G, B, Y, np.ones(1), lam=lam, regularization=regularization)  # type: ignore[arg-type]
    for part in (solution.theta, solution.factor, solution.lam, solution.noise_variance):
        assert np.isfinite(part).all()
    if lam <= 1.0:
        np.testing.assert_allclose(X @ solution.theta[0], x, atol=1e-3)


def test_scale_min_leaves_rare_columns_alone(world: World) -> None:
    """With `scale_min = 1` narrow columns are centred but not stretched, wide ones are standardised."""
    G = world.moments[1]
    plain, gentle = standardiser(G), standardiser(G, scale_min=1.0)
    narrow = np.array([1, 3, 4])  # sd below 1: two numerics and the rare indicator
    assert (np.diagonal(plain)[narrow] > 1.0).all()
    assert (np.diagonal(gentle)[narrow] == 1.0).all()
    np.testing.assert_array_equal(gentle[2], plain[2])
    assert (gentle @ (world.X.mean(axis=0)))[narrow] == pytest.approx(np.zeros(3), abs=1e-12)


def evidence_case(seed: int, n: int, noise: float, signal: float, d: int = 8) -> tuple[float, Array, Array, float]:
    """Moments of one arm whose coefficients are drawn with sd `signal` around a large mean reward."""
    rng = np.random.default_rng(seed)
    Z = np.c_[np.ones(n), rng.standard_normal((n, d - 1))]
    r = Z @ np.r_[20.0, signal * rng.standard_normal(d - 1)] + noise * rng.standard_normal(n)
    return float(n), Z.T @ Z, Z.T @ r, float(r @ r)


@pytest.mark.parametrize("noise", [0.05, 0.5, 3.0])
def test_evidence_recovers_the_noise_variance(noise: float) -> None:
    """Averaged over worlds, the noise variance is the true one within 3 %, however large the mean reward."""
    found = [maximise_evidence(*evidence_case(seed, 400, noise, 1.0), lam=1.0)[1] for seed in range(40)]
    assert np.mean(found) == pytest.approx(noise**2, rel=0.03)


def test_evidence_finds_the_ridge() -> None:
    """The ridge is near noise over signal where there is signal, and large where there is none."""
    ratios = [maximise_evidence(*evidence_case(seed, 2000, 1.0, 0.5, d=40), lam=1.0)[0] for seed in range(20)]
    assert np.exp(np.mean(np.log(ratios))) == pytest.approx(4.0, rel=0.25)
    empty = [maximise_evidence(*evidence_case(seed, 2000, 1.0, 0.0, d=40), lam=1.0)[0] for seed in range(20)]
    assert np.median(empty) > 1000.0


def test_evidence_is_a_maximum_of_the_marginal_likelihood() -> None:
    """The ridge is where the log evidence computed from the rows, hyperprior included, is highest."""
    rng = np.random.default_rng(11)
    Z = np.c_[np.ones(60), rng.standard_normal((60, 4))]
    r = Z @ np.array([3.0, 0.4, -0.2, 0.1, 0.0]) + rng.standard_normal(60)
    contrasts = np.linalg.svd(np.eye(60) - 1.0 / 60.0)[0][
        :, :59
    ]  # rewards without their mean: the restricted likelihood
    u, e = contrasts.T @ Z[:, 1:], contrasts.T @ r

    def log_evidence(lam: float) -> float:
        V = np.eye(59) + u @ u.T / lam
        return float(
            -29.5 * np.log(e @ np.linalg.solve(V, e)) - 0.5 * np.linalg.slogdet(V)[1] - np.log(lam) ** 2 / 32.0
        )

    found, noise = maximise_evidence(60.0, Z.T @ Z, Z.T @ r, float(r @ r), lam=1.0)
    best = max(np.geomspace(1e-3, 1e4, 400), key=log_evidence)
    assert found == pytest.approx(best, rel=0.05)
    assert noise == pytest.approx(float(e @ np.linalg.solve(np.eye(59) + u @ u.T / found, e)) / 59.0, rel=1e-8)


@pytest.mark.parametrize(
    ("n", "rewards", "expected"),
    [(0, [], (2.0, 1.0)), (1, [5.0], (2.0, 1.0)), (3, [5.0, 5.0, 5.0], (2.0, 0.0))],
)
def test_evidence_without_information_is_the_weak_prior(
    n: int, rewards: list[float], expected: tuple[float, float]
) -> None:
    """Too few turns, or rewards that never differ, leave the weak prior in place."""
    Z = np.c_[np.ones(n), np.arange(n, dtype=np.float64)]
    r = np.array(rewards)
    assert maximise_evidence(float(n), Z.T @ Z, Z.T @ r, float(r @ r), lam=2.0) == expected


def test_evidence_changes_theta_but_never_the_width(world: World) -> None:
    """With `evidence` the factor and alpha are bit for bit those of the weak prior; `theta` is not."""
    fixed = solve(*world.moments, WEIGHTS)
    tuned = solve(*world.moments, WEIGHTS, regularization="evidence")
    np.testing.assert_array_equal(tuned.factor, fixed.factor)
    np.testing.assert_array_equal(tuned.alpha, fixed.alpha)
    assert not np.allclose(tuned.theta, fixed.theta)


def test_evidence_predicts_better_where_there_is_nothing_to_predict() -> None:
    """On noise alone an arm tuned by evidence is closer to the truth, the mean, than under the weak prior."""
    rng = np.random.default_rng(5)
    X = np.c_[np.ones(120), rng.standard_normal((120, 40))]
    r = 1.0 + 2.0 * rng.standard_normal((120, 1))
    moments = sums(X, r, np.zeros(120, dtype=np.intp), 1)
    fixed, tuned = solve(*moments, np.ones(1)), solve(*moments, np.ones(1), regularization="evidence")
    assert np.sum(tuned.theta[0, 1:] ** 2) < 0.2 * np.sum(fixed.theta[0, 1:] ** 2)


def test_a_solution_is_read_only(world: World) -> None:
    """What leaves `solve` cannot be edited."""
    solution = solve(*world.moments, WEIGHTS, regularization="evidence")
    for name in Solution.__slots__:
        with pytest.raises(ValueError, match="read-only"):
            getattr(solution, name)[...] = 0.0


def test_moments_are_not_touched(world: World) -> None:
    """Solving leaves the sums as they are, and writable."""
    before = [part.copy() for part in world.moments]
    solve(*world.moments, WEIGHTS, regularization="evidence")
    for old, part in zip(before, world.moments, strict=True):
        np.testing.assert_array_equal(old, part)
        assert part.flags.writeable


@pytest.mark.parametrize(
    ("change", "message"),
    [({"lam": 0.0}, "lam"), ({"x_unit": np.nan}, "finite"), ({"weights": np.ones(3)}, "shapes")],
)
def test_bugs_are_refused(world: World, change: dict[str, object], message: str) -> None:
    """A prior of 0, numbers that are not finite and shapes that disagree raise at once."""
    arguments = dict(zip(("n", "G", "B", "Y"), world.moments, strict=True)) | {"weights": WEIGHTS} | change
    with pytest.raises(ValueError, match=message):
        solve(**arguments)


def test_corrupt_moments_are_refused() -> None:
    """A `G` that no rows can have produced is not papered over."""
    G = np.array([[[1.0, 0.0], [0.0, -50.0]]])
    with pytest.raises(ValueError, match="semidefinite"):
        solve(np.ones(1), G, np.zeros((1, 2, 1)), np.zeros((1, 1, 1)), np.ones(1))
