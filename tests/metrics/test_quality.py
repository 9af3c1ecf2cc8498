import copy
import math
import pickle
import time
import warnings
from datetime import timedelta

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import distributed, multiprocessing
from torch.utils.data import DataLoader, TensorDataset

from lml_iqa.metrics import (
    InvalidScoreWarning,
    QualityMetrics,
    UndefinedCorrelationWarning,
    evaluate,
    fit_logistic,
    krcc,
    plcc,
    rmse,
    srcc,
)

NAMES = {"srcc", "plcc", "plcc_fitted", "krcc", "rmse", "rmse_fitted", "fit_converged"}
N = 23


def images():
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randn(N, generator=generator)
    mos = 100 * torch.sigmoid(2 * prediction) + 5 * torch.randn(N, generator=generator)
    # Beyond what float32 can tell apart, so that an id which passes through a float is found out.
    image_id = 2**40 + torch.randperm(N, generator=generator)
    return prediction, mos, image_id


def fed(*rows):
    metric = QualityMetrics()
    for start in range(0, len(rows[0]), 4):
        metric.update(*(column[start : start + 4] for column in rows))
    return metric


def assert_all_nan(figures):
    assert figures.keys() == NAMES
    assert all(figure.isnan() for figure in figures.values())


class TestEvaluate:
    def test_figures_are_those_of_the_functions(self):
        prediction, mos, _ = (column.double().numpy() for column in images())
        scores = evaluate(prediction, mos)
        fitted = fit_logistic(prediction, mos)(prediction)
        assert scores.as_dict() == {
            "srcc": srcc(prediction, mos),
            "plcc": plcc(prediction, mos),
            "plcc_fitted": plcc(fitted, mos),
            "krcc": krcc(prediction, mos),
            "rmse": rmse(prediction, mos),
            "rmse_fitted": rmse(fitted, mos),
            "fit_converged": 1.0,
        }
        assert scores.plcc_fitted > scores.plcc
        assert scores.rmse_fitted < 10 < scores.rmse
        assert scores.fit_converged
        assert scores.n == N

    def test_dmos_keeps_its_sign(self):
        prediction, mos, _ = (column.numpy() for column in images())
        scores = evaluate(prediction, 100 - mos)
        assert scores.srcc < -0.8
        assert scores.plcc < -0.8
        assert scores.krcc < -0.6
        assert scores.plcc_fitted > 0.8

    def test_constant_warns_once(self):
        with pytest.warns(UndefinedCorrelationWarning, match="prediction") as caught:
            scores = evaluate(np.full(6, 2.0), np.arange(6.0))
        assert len(caught) == 1
        assert all(math.isnan(value) for value in (scores.srcc, scores.plcc, scores.plcc_fitted, scores.krcc))
        assert scores.rmse == scores.rmse_fitted == pytest.approx(math.sqrt(19 / 6))
        assert not scores.fit_converged


class TestMetric:
    def test_equals_evaluate(self):
        prediction, mos, image_id = images()
        figures = fed(prediction, mos, image_id).compute()
        expected = evaluate(prediction.numpy(), mos.numpy()).as_dict()
        assert {name: figure.item() for name, figure in figures.items()} == pytest.approx(expected, rel=1e-6)
        assert all(figure.shape == () and figure.dtype == torch.float32 for figure in figures.values())

    def test_order_does_not_matter(self):
        rows = images()
        shuffled = [column[torch.randperm(N, generator=torch.Generator().manual_seed(1))] for column in rows]
        assert fed(*shuffled).compute() == fed(*rows).compute()

    def test_repeated_image_counts_once(self):
        rows = images()
        # Two extra copies of one image, the last of them scored differently: the first stays.
        prediction, mos, image_id = (torch.cat([column, column[:1], column[:1]]) for column in rows)
        prediction[-1] += 10
        metric = fed(prediction, mos, image_id)
        assert metric.compute() == fed(*rows).compute()
        assert len(metric.per_image().image_id) == N

    def test_two_scores_for_one_image(self):
        prediction, mos, image_id = images()
        image_id[7] = image_id[3]
        metric = fed(prediction, mos, image_id)
        with pytest.raises(ValueError, match=f"image {image_id[3]} has two opinion scores"):
            metric.compute()
        with pytest.raises(ValueError, match="use image ids that are unique"):
            metric.per_image()

    def test_per_image(self):
        prediction, mos, image_id = images()
        table = fed(prediction, mos, image_id).per_image()
        order = image_id.argsort()
        np.testing.assert_array_equal(table.image_id, image_id[order].numpy())
        np.testing.assert_array_equal(table.prediction, prediction[order].numpy())
        np.testing.assert_array_equal(table.mos, mos[order].numpy())
        assert [column.dtype for column in table] == [np.int64, np.float32, np.float32]

    def test_per_image_without_images(self):
        assert [len(column) for column in QualityMetrics().per_image()] == [0, 0, 0]

    def test_compute_and_table_leave_the_metric_usable(self):
        prediction, mos, image_id = images()
        metric = fed(prediction[:10], mos[:10], image_id[:10])
        metric.per_image()
        metric.compute()
        metric.update(prediction[10:], mos[10:], image_id[10:])
        assert metric.compute() == fed(prediction, mos, image_id).compute()

    def test_reset(self):
        rows = images()
        metric = fed(*rows)
        expected = metric.compute()
        metric.reset()
        metric.update(*rows)
        assert metric.compute() == expected

    @pytest.mark.parametrize("shapes", [((4, 1), (4,), (4,)), ((4,), (3,), (4,)), ((), (), ()), ((4,), (4,), (1,))])
    def test_rejects_other_shapes(self, shapes):
        with pytest.raises(ValueError, match=r"must all be \(B,\)"):
            QualityMetrics().update(*(torch.zeros(shape) for shape in shapes))

    def test_holds_no_graph(self):
        prediction, mos, image_id = images()
        metric = fed((2 * prediction).requires_grad_() * 2, mos, image_id)
        assert not metric.prediction[0].requires_grad

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda metric: pickle.loads(pickle.dumps(metric))])
    def test_copies(self, copied):
        prediction, mos, image_id = images()
        original = fed(prediction[:10], mos[:10], image_id[:10])
        duplicate = copied(original)
        duplicate.update(prediction[10:], mos[10:], image_id[10:])
        assert duplicate.compute() == fed(prediction, mos, image_id).compute()
        assert original.compute() == fed(prediction[:10], mos[:10], image_id[:10]).compute()

    def test_forty_thousand_images(self):
        generator = torch.Generator().manual_seed(0)
        prediction = torch.randn(40_000, generator=generator)
        metric = QualityMetrics()
        metric.update(prediction, prediction.sigmoid() + torch.randn(40_000, generator=generator), torch.arange(40_000))
        start = time.process_time()
        metric.compute()
        assert time.process_time() - start < 10  # torchmetrics' own Kendall takes more than 20


class TestHalfPrecision:
    def test_autocast_changes_nothing(self):
        rows = images()
        expected = fed(*rows).compute()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert fed(*rows).compute() == expected

    def test_half_predictions_are_evaluated_in_full(self):
        prediction, mos, image_id = images()
        rounded = prediction.bfloat16()
        metric = fed(rounded, mos, image_id)
        assert metric.compute() == fed(rounded.float(), mos, image_id).compute()
        assert metric.per_image().prediction.dtype == np.float32

    def test_module_in_half_keeps_full_scores(self):
        rows = images()
        metric = QualityMetrics().to(torch.bfloat16)  # what Trainer(precision="bf16-true") does
        metric.update(*rows)
        assert metric.compute() == fed(*rows).compute()


class TestWarnings:
    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_invalid_prediction(self, value):
        prediction, mos, image_id = images()
        prediction[[2, 11]] = value
        first = sorted(image_id[[2, 11]].tolist())
        metric = fed(prediction, mos, image_id)
        with pytest.warns(InvalidScoreWarning, match=rf"2 of {N} predictions .* images \[{first[0]}, {first[1]}\]"):
            assert_all_nan(metric.compute())
        assert len(metric.per_image().image_id) == N

    def test_invalid_mos_is_an_error(self):
        prediction, mos, image_id = images()
        mos[4] = math.nan
        with pytest.raises(ValueError, match="mos has 1 NaN"):
            fed(prediction, mos, image_id).compute()

    def test_constant_prediction(self):
        _, mos, image_id = images()
        with pytest.warns(UndefinedCorrelationWarning, match="prediction"):
            figures = fed(torch.zeros(N), mos, image_id).compute()
        assert figures["srcc"].isnan()
        assert figures["plcc_fitted"].isnan()
        assert figures["rmse"].item() == pytest.approx(mos.square().mean().sqrt().item())

    def test_single_image_and_its_repeat(self):
        metric = QualityMetrics()
        metric.update(torch.ones(2), torch.ones(2), torch.zeros(2, dtype=torch.int64))
        with pytest.warns(UndefinedCorrelationWarning, match=r"1 image\(s\)"):
            assert_all_nan(metric.compute())

    def test_no_image(self):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert_all_nan(QualityMetrics().compute())
        assert any(warning.category is UndefinedCorrelationWarning for warning in caught)


class Scorer(LightningModule):
    def __init__(self):
        super().__init__()
        self.metric = QualityMetrics()

    def validation_step(self, batch, batch_idx):
        self.metric.update(*batch)

    def on_validation_epoch_end(self):
        self.log_dict(self.metric.compute())
        self.metric.reset()


def test_in_a_lightning_module():
    rows = images()
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    scorer, loader = Scorer(), DataLoader(TensorDataset(*rows), batch_size=4)
    expected = {name: figure.item() for name, figure in fed(*rows).compute().items()}
    for _ in range(2):
        assert trainer.validate(scorer, loader, verbose=False) == [expected]


def score_a_share(rank, folder):
    """One of two processes: four batches and two, where the second fills up with two images of the first."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    prediction, mos, image_id = images()
    share = torch.arange(16) if rank == 0 else torch.cat([torch.arange(16, N), torch.arange(2)])
    metric, unequal = QualityMetrics(), QualityMetrics()
    with torch.inference_mode():  # as in a validation step
        for rows in share.split(5):
            metric.update(prediction[rows], mos[rows], image_id[rows])
        if rank == 0:
            unequal.update(prediction, mos, image_id)
    before = metric.per_image()
    result = {
        "figures": metric.compute(),
        "before": [torch.from_numpy(column) for column in before],
        "after": [torch.from_numpy(column) for column in metric.per_image()],
        "local": torch.cat(metric.image_id),
        "unequal": unequal.compute(),
        "unequal_ids": torch.from_numpy(unequal.per_image().image_id),
    }
    torch.save(result, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def shares(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gloo")
    # The processes are copies of one that has imported the slow packages.
    multiprocessing.set_forkserver_preload(["lightning.pytorch", "torchmetrics", "scipy.stats"])
    multiprocessing.start_processes(score_a_share, args=(str(folder),), nprocs=2, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


class TestTwoProcesses:
    def test_figures_are_those_of_one_process(self, shares):
        expected = fed(*images()).compute()
        assert shares[0]["figures"] == shares[1]["figures"] == expected

    def test_table_is_that_of_one_process(self, shares):
        expected = [torch.from_numpy(column) for column in fed(*images()).per_image()]
        for share in shares:
            for before, after, column in zip(share["before"], share["after"], expected, strict=True):
                assert torch.equal(before, column)
                assert torch.equal(after, column)

    def test_each_process_goes_on_with_its_own_images(self, shares):
        image_id = images()[2]
        assert torch.equal(shares[0]["local"], image_id[:16])
        assert torch.equal(shares[1]["local"], torch.cat([image_id[16:], image_id[:2]]))

    def test_a_process_may_have_no_image(self, shares):
        prediction, mos, image_id = images()
        expected = fed(prediction, mos, image_id).compute()
        assert shares[0]["unequal"] == shares[1]["unequal"] == expected
        assert torch.equal(shares[1]["unequal_ids"], image_id.sort().values)
