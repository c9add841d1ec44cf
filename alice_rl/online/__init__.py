"""The maths of learning and exploration: arrays in, arrays out; no I/O, no clock, no hidden randomness.

One notation for the whole package. Names are ASCII; a shape at the end of a line of code uses these letters.

======= ================ ========= ======================================================================
symbol  name in code     shape     meaning and unit
======= ================ ========= ======================================================================
K       `K`              ()        arms of one slot; in `exploration`, the arms *available* to a decision
d       `d`              ()        features, the bias included
m       `m`              ()        reward components
x       `x`              (d,)      features of one turn, `x[0] = 1` the bias; stored in steps of `x_unit`
y       `y`              (m,)      reward components of one turn; stored in steps of `y_unit`
w       `weights`        (m,)      reward weights, reward per unit of each component
r       `r`              ()        reward of one turn, `r = w.y`
n       `n`              (K,)      turns per arm; a fraction once old turns are decayed
G       `G`              (K, d, d) `sum x x'`, raw: without prior, standardisation or weights
B       `B`              (K, d, m) `sum x y'`
Y       `Y`              (K, m, m) `sum y y'`
b       `b`              (K, d)    `sum x r`, that is `B w`
rr      `rr`             (K,)      `sum r^2`, that is `w' Y w`
T       `T`              (d, d)    standardiser `z = T x`: columns of mean 0 and variance 1, bias as it was
A       `A`              (K, d, d) posterior precision times noise variance, `T G T' + lam I`
lambda  `lam`            () (K,)   ridge: prior precision times noise variance, of standardised features
sigma^2 `noise_variance` (K,)      variance of `r` around `theta.x`, reward squared
theta   `theta`          (K, d)    coefficients, reward per unit of `x`
F       `factor`         (K, d, d) lower triangular, `|F x|^2 = x' T' A^-1 T x`
alpha   `alpha`          () (K,)   width of the confidence bound: reward per unit of `|F x|`
u       `scores`         (K,)      upper confidence bound `theta.x + alpha |F x|`, reward
pi      `pi`             (K,)      distribution over the available arms; sums to 1
p       `p`              ()        propensity: the entry of `pi` that was served
eps     `eps`            ()        share of the distribution that is spread evenly; the floor is `eps / K`
gamma   `gamma`          ()        sharpness of inverse-gap weighting, no unit
a, b    `a`, `b`         (K,)      Beta posterior of a tool: successes and failures, priors included
I, T    `I`, `T`         ()        intents and tools, in `thompson` alone
Q, T    `Q`, `T`         ()        query classes and cache tiers, in `epsilon_greedy` alone
======= ================ ========= ======================================================================

Where papers clash: Li et al. (2010) write `p` for the upper confidence bound; here `p` is always a propensity
and the bound is `u`. Their `A` has the identity for its prior; here the identity carries `lam`. Bishop (2006)
and river write `alpha` and `beta` for the precisions of prior and noise: `lam = alpha / beta` and
`noise_variance = 1 / beta`; here `alpha` is always the width, as in Li et al.
"""
