import numpy as np
import pytest

from photon_gpu.sources.simulated.scene import draw_scene

USUAL = {"height": 90, "width": 130, "margin": 3, "contrast": 0.4, "cells": 12, "cell_radius": 5.0}


def draw(seed=1, **changes):
    return draw_scene(np.random.default_rng(seed), **{**USUAL, **changes})


def test_the_mean_of_the_field_at_rest_is_one_and_nothing_is_dark_or_negative():
    scene = draw()
    assert scene.rest[3:-3, 3:-3].mean() == pytest.approx(1, abs=1e-12)
    assert scene.rest.min() > 0


def test_the_background_has_the_contrast_asked_for():
    assert np.log(draw(cells=0, margin=0, contrast=0.7).rest).std() == pytest.approx(0.7, rel=1e-9)
    flat = draw(cells=0, contrast=0).rest
    assert (flat == 1).all()


def test_every_cell_has_a_body_and_no_pixel_has_two_owners():
    scene = draw()
    assert set(np.unique(scene.labels)) == set(range(13))
    assert np.unique(scene.cell_pixels).size == scene.cell_pixels.size
    assert (scene.cell_light > 0).all()
    area = np.bincount(scene.labels.ravel())[1:]
    assert 0.5 * np.pi * 25 < np.median(area) < 1.5 * np.pi * 25
    owner = np.full(scene.rest.size, -1)
    owner[scene.cell_pixels] = scene.cell_of_pixel
    field = owner.reshape(scene.rest.shape)[3:-3, 3:-3]
    assert (field[scene.labels > 0] == scene.labels[scene.labels > 0] - 1).all()


def test_one_seed_is_one_scene_and_another_seed_another():
    assert (draw(1).rest == draw(1).rest).all()
    assert not (draw(1).rest == draw(2).rest).all()


@pytest.mark.parametrize("height, width", [(1, 1), (1, 40), (40, 1), (3, 2)])
def test_the_smallest_fields_can_be_drawn(height, width):
    scene = draw(height=height, width=width, cells=2)
    assert scene.labels.shape == (height, width)
    assert np.isfinite(scene.rest).all()


def test_crowded_cells_still_share_no_pixel():
    scene = draw(height=30, width=30, cells=60)
    assert np.unique(scene.cell_pixels).size == scene.cell_pixels.size
