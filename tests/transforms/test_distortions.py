"""Each distortion is what it claims to be, as strong as its level says, and the same wherever it is made."""

import hashlib
import math
import random
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lml_iqa.transforms.distortions import DISTORTIONS, LEVEL_PSNR, Reach, distort, human_mean_opinion, psnr

REPOSITORY = Path(__file__).parents[2]
KODAK = REPOSITORY.parent / "shared" / "data" / "Kodak24"

LEVELS = range(1, 6)
PSNR_KINDS = [kind for kind, distortion in DISTORTIONS.items() if isinstance(distortion.severity, Reach)]
# What these two can destroy is bounded: JPEG by its coarsest table, comfort noise by the texture that there is.
BOUNDED_AT_LEVEL_5 = {10, 20}
WITHOUT_CHANCE = {7, 8, 10, 11, 17, 18, 22, 23}


def crop(image, height=192, width=256):
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


@pytest.fixture(scope="module")
def photographs():
    # Not at the top: the second process of a test below imports this file and needs no photograph.
    from skimage import data as skimage_photos
    from sklearn.datasets import load_sample_image

    return [
        crop(skimage_photos.astronaut()),
        crop(skimage_photos.coffee()),
        crop(load_sample_image("china.jpg")),
    ]


@pytest.fixture(scope="module")
def photograph(photographs):
    return photographs[0]


@pytest.fixture(scope="module")
def renderings(photographs):
    """{(kind, level): one picture for each photograph}"""
    return {
        (kind, level): [distort(image, kind, level, seed=index) for index, image in enumerate(photographs)]
        for kind in DISTORTIONS
        for level in LEVELS
    }


def painting(height=80, width=104):
    """A small picture that needs no file: smooth colors, an edge and some texture."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([2 * x, 3 * y, 255 - x - y], axis=-1) % 256
    image[height // 2 :, : width // 2] //= 2
    return (image * 0.8 + np.random.default_rng(0).integers(0, 40, image.shape)).astype(np.uint8)


def residual(image, distorted):
    return distorted.astype(np.float64) - image


def luma(image):
    return np.asarray(image, dtype=np.float64) @ [0.299, 0.587, 0.114]


def high_share(signal):
    """Share of a plane's energy above half the Nyquist frequency, in either direction."""
    power = np.abs(np.fft.fft2(signal - signal.mean())) ** 2
    fast = [np.abs(np.fft.fftfreq(side)) > 0.25 for side in signal.shape]
    return power[fast[0][:, None] | fast[1][None]].sum() / power.sum()


def gradient_energy(image):
    plane = luma(image)
    return np.mean(np.diff(plane, axis=0) ** 2) + np.mean(np.diff(plane, axis=1) ** 2)


def blockiness(image):
    """Mean step across the borders of 8 x 8 blocks, relative to the mean step within them."""
    steps = np.abs(np.diff(luma(image), axis=1)).mean(axis=0)
    return steps[7::8].mean() / np.delete(steps, np.s_[7::8]).mean()


def share_changed(image, distorted):
    return np.any(image != distorted, axis=-1).mean()


# --- the catalogue and the labels


def test_catalogue_has_the_24_types_of_tid2013():
    assert list(DISTORTIONS) == list(range(1, 25))
    assert all(distortion.number == kind for kind, distortion in DISTORTIONS.items())
    assert len({distortion.name for distortion in DISTORTIONS.values()}) == 24
    assert [kind for kind in DISTORTIONS if kind not in PSNR_KINDS] == [14, 15, 16, 17, 18]
    assert LEVEL_PSNR == (33, 30, 27, 24, 21)


def test_opinions_are_those_of_tid2013():
    opinions = human_mean_opinion()
    assert set(opinions) == {(kind, level) for kind in DISTORTIONS for level in LEVELS}
    assert opinions[1, 1] == 5.6964
    assert opinions[24, 5] == 0.8809
    assert all(0 <= opinion <= 9 for opinion in opinions.values())
    # More contrast pleases, less does not: the order in which the levels are rendered hangs on it.
    assert min(opinions[17, 2], opinions[17, 4]) > max(opinions[17, 1], opinions[17, 3], opinions[17, 5])


def test_opinions_agree_with_the_source_table():
    source = REPOSITORY.parent / "shared" / "data" / "labels" / "tid2013_mean_mos_by_distortion.csv"
    if not source.exists():
        pytest.skip(f"{source} is absent")
    rows = np.loadtxt(source, delimiter=",", skiprows=1)
    assert human_mean_opinion() == {(int(row[0]), int(row[1])): row[2] for row in rows}


# --- severity


def test_psnr_against_its_definition():
    black = np.zeros((4, 4, 3), np.uint8)
    off = black.copy()
    off[0, 0, 0] = 48
    assert psnr(black, off) == pytest.approx(10 * math.log10(255**2 / (48**2 / 48)))
    assert psnr(black, black) == math.inf
    assert psnr(black, black + np.uint8(255)) == pytest.approx(0)
    with pytest.raises(ValueError, match=r"float64"):
        psnr(black, off.astype(float))
    with pytest.raises(ValueError, match=r"\(4, 4, 3\) with uint8 \(4, 3, 3\)"):
        psnr(black, off[:, :3])


@pytest.mark.parametrize("kind", PSNR_KINDS)
def test_levels_have_their_psnr(kind, photographs, renderings):
    for level, target in zip(LEVELS, LEVEL_PSNR, strict=True):
        found = np.mean([psnr(*pair) for pair in zip(photographs, renderings[kind, level], strict=True)])
        # The search stops within 0.3 dB; whole-number severities (qualities, colors) and errors that come in lumps
        # miss by more on single pictures as small as these. A level is 3 dB wide.
        if kind in BOUNDED_AT_LEVEL_5 and level == 5:
            assert target - 1 < found < LEVEL_PSNR[3] - 0.5
        else:
            assert found == pytest.approx(target, abs=1), f"level {level}"


def test_levels_have_their_psnr_on_kodak_photographs():
    if not KODAK.exists():
        pytest.skip(f"{KODAK} is absent")
    for name in ("kodim01", "kodim13", "kodim20"):
        with Image.open(KODAK / f"{name}.png") as file:
            image = crop(np.array(file.convert("RGB")))
        for kind in (1, 8, 11, 21):
            assert psnr(image, distort(image, kind, 4, seed=5)) == pytest.approx(LEVEL_PSNR[3], abs=0.5)


def test_a_level_out_of_reach_is_as_near_as_it_gets():
    # Blurring a slope hardly changes it: no blur brings it down to 21 dB.
    slope = np.repeat(np.linspace(100, 140, 96).astype(np.uint8)[None, :, None], 96, axis=0).repeat(3, axis=2)
    strongest = distort(slope, 8, 5, seed=0)
    assert psnr(slope, strongest) > 22
    assert np.abs(residual(slope, strongest)).max() > 5


def test_fixed_severities_grow(photographs, renderings):
    def by_level(kind, measure):
        pairs = [zip(photographs, renderings[kind, level], strict=True) for level in LEVELS]
        return [np.mean([measure(*pair) for pair in at_level]) for at_level in pairs]

    def rising(values):
        return all(np.diff(values) > 0)

    assert rising(by_level(14, share_changed))
    assert rising(by_level(15, share_changed))
    # The shift of a changed pixel falls as their number rises: opinion of type 15 improves with the level.
    strength = by_level(15, lambda image, shown: np.abs(residual(image, shown)).sum() / (image != shown).sum())
    assert rising(-np.array(strength))
    assert rising(by_level(16, lambda image, shown: np.abs(residual(image, shown)).mean()))
    contrast = by_level(17, lambda image, shown: luma(shown).std() / luma(image).std())
    assert contrast[4] < contrast[2] < contrast[0] < 1 < contrast[1] < contrast[3]
    assert rising(-np.array(by_level(18, lambda _, shown: np.ptp(shown, axis=-1).mean())))


# --- what every type has in common


def test_every_picture_keeps_shape_and_type_and_is_changed(photographs, renderings):
    for (kind, level), pictures in renderings.items():
        for image, picture in zip(photographs, pictures, strict=True):
            assert picture.shape == image.shape, (kind, level)
            assert picture.dtype == np.uint8, (kind, level)
            assert picture.flags.writeable, (kind, level)
            assert not np.array_equal(picture, image), (kind, level)


@pytest.mark.parametrize("shape", [(64, 64), (71, 93), (130, 67)])
def test_small_and_odd_sizes(shape):
    image = painting(*shape)
    before = image.copy()
    for kind in DISTORTIONS:
        picture = distort(image, kind, 3, seed=1)
        assert picture.shape == image.shape, kind
        assert not np.array_equal(picture, image), kind
    assert np.array_equal(image, before), "the input must be left as it is"


def test_gray_photographs(photograph):
    gray = np.repeat(luma(photograph).round().astype(np.uint8)[..., None], 3, axis=-1)[:96, :96]
    for kind in DISTORTIONS:
        changed = not np.array_equal(distort(gray, kind, 4, seed=1), gray)
        assert changed == (kind != 18), kind  # there is no saturation to change


def test_flat_image_ends_the_search():
    flat = np.full((64, 64, 3), 90, np.uint8)
    for kind in DISTORTIONS:
        assert distort(flat, kind, 5, seed=0).shape == flat.shape


def test_seed_drives_exactly_what_is_random():
    image = painting()
    for kind in DISTORTIONS:
        same = np.array_equal(distort(image, kind, 3, seed=1), distort(image, kind, 3, seed=2))
        # A mean shift draws its sign alone: two seeds may agree.
        assert kind == 16 or same == (kind in WITHOUT_CHANCE), kind
    means = {round(float(distort(image, 16, 3, seed).mean() - image.mean())) for seed in range(8)}
    assert len(means) == 2


def digest():
    pictures = (distort(painting(), kind, 4, seed=7) for kind in DISTORTIONS)
    return hashlib.sha256(b"".join(picture.tobytes() for picture in pictures)).hexdigest()


def test_same_pictures_in_another_process_and_under_any_global_state():
    here = digest()
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    cv2.setRNGSeed(1)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert digest() == here
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    script = "import sys; sys.path.insert(0, 'tests/transforms'); import test_distortions as t; print(t.digest())"
    there = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_only_distortions_load_albumentations_and_opencv():
    script = (
        "import sys; from lml_iqa.datasets import load_csv_table; import lml_iqa.datamodules, lml_iqa.transforms; "
        "sys.exit('albumentations' in sys.modules or 'cv2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY).returncode == 0


@pytest.mark.parametrize(
    ("image", "kind", "level", "seed", "message"),
    [
        (painting().astype(np.float32), 1, 1, 0, "float32.*uint8"),
        ([[0]], 1, 1, 0, "list.*uint8"),
        (painting()[..., 0], 1, 1, 0, r"\(80, 104\).*RGB"),
        (painting()[:63], 1, 1, 0, r"\(63, 104, 3\).*64"),
        (painting(), 25, 1, 0, "kind 25.*24"),
        (painting(), 1, 0, 0, "level 0.*5"),
        (painting(), 1, 1, -1, "seed -1"),
    ],
)
def test_bad_input_names_the_value_and_the_cure(image, kind, level, seed, message):
    with pytest.raises(ValueError, match=message):
        distort(image, kind, level, seed)


# --- what each type is


def neighbor_correlation(plane):
    return np.corrcoef(plane[:, :-1].ravel(), plane[:, 1:].ravel())[0, 1]


def test_noise_has_its_spectrum(photograph, renderings):
    white, correlated, high = (residual(photograph, renderings[kind, 3][0])[..., 1] for kind in (1, 3, 5))
    assert abs(neighbor_correlation(white)) < 0.05
    assert neighbor_correlation(correlated) > 0.4
    assert high_share(white) == pytest.approx(0.75, abs=0.05)  # flat: the band is three quarters of the plane
    assert high_share(high) > 0.9


def test_color_noise_spares_the_luma(photograph, renderings):
    def luma_share(kind):
        noise = residual(photograph, renderings[kind, 3][0])
        return luma(noise).std() / noise.std()

    assert luma_share(2) < 0.4 < luma_share(1)


def test_masked_noise_hides_in_texture(photograph, renderings):
    busy = cv2.blur(np.abs(cv2.Laplacian(luma(photograph), cv2.CV_64F)), (9, 9))
    noise = np.abs(residual(photograph, renderings[4, 4][0])).mean(axis=-1)
    assert noise[busy > np.median(busy)].mean() > 3 * noise[busy < np.median(busy)].mean()


def test_impulse_noise_touches_few_pixels_with_black_and_white(photograph, renderings):
    for level in LEVELS:
        picture = renderings[6, level][0]
        touched = np.any(picture != photograph, axis=-1)
        assert 0 < touched.mean() < 0.05
        assert set(np.unique(picture[touched])) == {0, 255}


def test_multiplicative_noise_follows_the_signal(photograph, renderings):
    noise = residual(photograph, renderings[19, 3][0])
    dark, bright = ((photograph > low) & (photograph < low + 40) for low in (20, 160))
    assert noise[bright].std() > 2.5 * noise[dark].std()


def test_quantizations_leave_few_values(photograph, renderings):
    values = [len(np.unique(renderings[7, level][0])) for level in LEVELS]
    colors = [len(np.unique(renderings[22, level][0].reshape(-1, 3), axis=0)) for level in LEVELS]
    assert values == sorted(values, reverse=True)
    assert values[0] < 20
    assert values[4] <= 5
    assert colors == sorted(colors, reverse=True)
    assert colors[0] <= 256
    assert colors[4] < 32
    # Dithering is what tells the two apart: a palette color averages out to the original's.
    means = [np.abs(cv2.blur(residual(photograph, renderings[kind, 5][0]), (9, 9))).mean() for kind in (7, 22)]
    assert means[1] < 0.7 * means[0]


def test_blur_and_wavelet_coding_lose_gradients(photographs, renderings):
    for kind in (8, 11):
        for index, image in enumerate(photographs):
            energy = [gradient_energy(renderings[kind, level][index]) for level in LEVELS]
            assert gradient_energy(image) > energy[0] > energy[2] > energy[4]
    assert high_share(luma(renderings[8, 4][0])) < 0.3 * high_share(luma(photographs[0]))


def test_denoising_loses_detail_but_keeps_edges(photograph, renderings):
    picture = renderings[9, 3][0]
    assert high_share(luma(picture)) < 0.8 * high_share(luma(photograph))
    # At the same PSNR a blur has lost the edges, too.
    assert gradient_energy(picture) > 1.2 * gradient_energy(renderings[8, 3][0])


def test_jpeg_shows_its_blocks(photograph, renderings):
    assert blockiness(photograph) == pytest.approx(1, abs=0.1)
    for kind in (10, 21):
        assert blockiness(renderings[kind, 4][0]) > 1.2
    assert blockiness(renderings[11, 4][0]) < 1.2  # JPEG 2000 has none


def test_transmission_errors_stay_local(photograph, renderings):
    for kind, side in ((12, 8), (13, 32)):
        error = residual(photograph, renderings[kind, 2][0]) ** 2
        blocks = error.reshape(192 // side, side, 256 // side, side, 3).mean(axis=(1, 3, 4))
        worst = np.sort(blocks.ravel())[::-1]
        # Errors that lie everywhere alike, as noise does, give 0.1.
        assert worst[: len(worst) // 10].sum() > 0.4 * worst.sum(), kind


def test_pattern_noise_moves_what_is_there(photograph, renderings):
    picture = renderings[14, 3][0]
    moved = np.any(picture != photograph, axis=-1)
    assert moved.mean() < 0.15
    known = {tuple(color) for color in photograph.reshape(-1, 3)}
    assert {tuple(color) for color in picture[moved]} <= known


def test_blockwise_distortion_fills_blocks(photograph, renderings):
    changed = np.any(renderings[15, 1][0] != photograph, axis=-1)
    assert changed.sum() == pytest.approx(32 * 32, rel=0.05)  # 4 blocks in 512 x 384 is one here
    rows, columns = np.nonzero(changed)
    assert np.ptp(rows) == np.ptp(columns) == 31


def test_mean_shift_and_contrast_keep_the_rest():
    gray = np.random.default_rng(0).normal(128, 15, (96, 96, 3)).round().astype(np.uint8)
    shift = residual(gray, distort(gray, 16, 4, seed=0))
    assert abs(shift.mean()) == pytest.approx(36)
    assert shift.std() == 0
    for level in LEVELS:
        assert distort(gray, 17, level, seed=0).mean() == pytest.approx(gray.mean(), abs=1)


def test_saturation_change_keeps_the_luma(photograph, renderings):
    for level in LEVELS:
        picture = renderings[18, level][0]
        assert np.abs(luma(picture) - luma(photograph)).max() < 2
    assert np.ptp(picture, axis=-1).max() == 0  # level 5 has no color left


def test_comfort_noise_keeps_the_amount_of_texture(photograph, renderings):
    picture = renderings[20, 2][0]
    assert gradient_energy(picture) == pytest.approx(gradient_energy(photograph), rel=0.25)
    coarse = [cv2.resize(shown, (32, 24), interpolation=cv2.INTER_AREA) for shown in (photograph, picture)]
    assert psnr(*coarse) > psnr(photograph, picture) + 8


def test_chromatic_aberration_moves_red_and_blue_apart(photograph, renderings):
    picture = renderings[23, 3][0]
    assert np.array_equal(picture[..., 1], photograph[..., 1])
    far = residual(photograph, picture) ** 2
    rim = np.ones(photograph.shape[:2], bool)
    rim[48:-48, 64:-64] = False
    for channel in (0, 2):
        assert far[rim, channel].mean() > far[~rim, channel].mean() > 0


def test_sparse_sampling_keeps_its_samples(photograph, renderings):
    untouched = [1 - share_changed(photograph, renderings[24, level][0]) for level in LEVELS]
    assert untouched == sorted(untouched, reverse=True)
    assert untouched[0] > 0.5
    assert 0.001 < untouched[4] < 0.3
