"""Golden values for RandAugment's operations: Pillow's results on one small image.

    make_augment.py OUT.safetensors      needs Pillow and timm

Tensors "<operation>.<magnitude>[.negative]" as timm's AugmentOp computes them with bicubic resampling.
"""
import random
import sys

import numpy as np
from PIL import Image
from timm.data import auto_augment

from golden_file import save

SIZE, FILL = 21, (124, 116, 104)
OPS = {"auto_contrast": "AutoContrast", "equalize": "Equalize", "invert": "Invert", "rotate": "Rotate",
       "posterize": "PosterizeIncreasing", "solarize": "SolarizeIncreasing", "solarize_add": "SolarizeAdd",
       "color": "ColorIncreasing", "contrast": "ContrastIncreasing", "brightness": "BrightnessIncreasing",
       "sharpness": "SharpnessIncreasing", "shear_x": "ShearX", "shear_y": "ShearY",
       "translate_x": "TranslateXRel", "translate_y": "TranslateYRel"}


def picture():
    rng = np.random.default_rng(2)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1)
    smooth = np.stack([60 + 150 * x, 40 + 120 * y, 200 - 160 * x * y], -1)
    smooth[5:12, 6:15] = (230, 40, 90)
    return (smooth + rng.normal(0, 12, smooth.shape)).clip(5, 250).astype(np.uint8)


def apply(name, pixels, magnitude, negative):
    op = auto_augment.AugmentOp(name, prob=1.0, magnitude=magnitude,
                                hparams={"img_mean": FILL, "interpolation": Image.BICUBIC})
    drawn = random.random
    random.random = lambda: 0.9 if negative else 0.1  # the only draw is the sign: above 1/2 it is negated
    try:
        return np.asarray(op(Image.fromarray(pixels)))
    finally:
        random.random = drawn


def main():
    pixels = picture()
    out = {"input": pixels}
    for ours, theirs in OPS.items():
        for magnitude in (2.5, 9, 9.9):
            for negative in (False, True):
                out[f"{ours}.{magnitude:g}{'.negative' if negative else ''}"] = apply(theirs, pixels, magnitude, negative)
    save(sys.argv[1], out)


main()
