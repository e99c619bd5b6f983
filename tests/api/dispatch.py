"""scikit-learn's array dispatch on our arrays against NumPy's: prints what differs.

A program of its own: SciPy reads SCIPY_ARRAY_API when it is imported.
"""

import numpy as np
import sklearn
from sklearn import (
    decomposition,
    discriminant_analysis,
    linear_model,
    metrics,
    model_selection,
    naive_bayes,
    preprocessing,
)

import lamella as L

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 5))
Y = (X[:, 0] > 0).astype(np.int32)
X[Y == 1] += 1
OTHER, POSITIVE = (X[:, 1] > 0).astype(np.int32), np.abs(X)

MODELS = {
    "Ridge": lambda c: linear_model.Ridge(solver="svd").fit(c(X), c(X[:, 1])).coef_,
    "RidgeCV": lambda c: linear_model.RidgeCV().fit(c(X), c(X[:, 1])).coef_,
    "LogisticRegression": lambda c: linear_model.LogisticRegression().fit(c(X), c(Y)).coef_,
    "LinearDiscriminantAnalysis": lambda c: discriminant_analysis.LinearDiscriminantAnalysis().fit(
        c(X), c(Y)).predict(c(X)),
    "GaussianNB": lambda c: naive_bayes.GaussianNB().fit(c(X), c(Y)).predict(c(X)),
    "LabelEncoder": lambda c: preprocessing.LabelEncoder().fit_transform(c(Y)),
    "train_test_split": lambda c: np.concatenate(
        [np.asarray(v) for v in model_selection.train_test_split(c(X), random_state=0)]),
    "cross_val_score": lambda c: model_selection.cross_val_score(
        linear_model.Ridge(solver="svd"), c(X), c(X[:, 1]), cv=3),
}
MODELS |= {name: lambda c, name=name: getattr(preprocessing, name)().fit_transform(c(X))
           for name in (
    "StandardScaler", "MinMaxScaler", "MaxAbsScaler", "Normalizer", "Binarizer",
    "PolynomialFeatures")}
MODELS |= {f"PCA {s}": lambda c, s=s: np.abs(np.asarray(decomposition.PCA(
    n_components=2, svd_solver=s).fit_transform(c(X)))) for s in ("full", "covariance_eigh")}
MODELS |= {name: lambda c, name=name: getattr(metrics, name)(
    c(POSITIVE[:, 0]), c(POSITIVE[:, 1])) for name in (
    "mean_squared_error", "r2_score", "mean_absolute_error", "max_error",
                        "explained_variance_score", "mean_squared_log_error")}
MODELS |= {name: lambda c, name=name: getattr(metrics, name)(c(Y), c(OTHER)) for name in (
    "accuracy_score", "zero_one_loss", "f1_score", "precision_score", "recall_score",
    "jaccard_score", "hamming_loss", "balanced_accuracy_score", "confusion_matrix",
    "roc_auc_score")}
MODELS |= {name: lambda c, name=name: getattr(metrics.pairwise, name)(c(POSITIVE)) for name in (
    "cosine_similarity", "euclidean_distances", "linear_kernel", "rbf_kernel",
    "polynomial_kernel", "chi2_kernel", "sigmoid_kernel", "manhattan_distances")}

sklearn.set_config(array_api_dispatch=True)
for name, f in MODELS.items():
    try:
        found, wanted = f(L.asarray), f(lambda v: v)
        if not np.allclose(np.asarray(found), wanted, rtol=1e-6, atol=1e-8):
            print(f"{name}: {found} is not {wanted}")
    except Exception as e:
        print(f"{name}: {type(e).__name__}: {e}")
print(f"{len(MODELS)} compared")
