"""A known answer: what an implementation has to read rightly on this host before it judges a key.

Made by :mod:`tools.make_known_answer`. The key is published, and protects nothing.
"""

from __future__ import annotations

import base64
from typing import Final

FINGERPRINT: Final = "E07043C7EE332A19F7EB7B96E336D5D3896B25DB"
PASSPHRASE: Final = "known-answer"
ANSWER: Final = b"known answer"
SECRET: Final = base64.b64decode(
    "lIYEOG1DgBYJKwYBBAHaRw8BAQdAV72KeJjfha76gnYa++aYBgdTOIACdFBzll3pln2xkSD+CQMIA/mE+AKWpZBgxdy75fgK"
    "NIqSor2c3x09poLj0BsrKgHmcBsNGc5MgtaW6gwyb0lDB1XaruAPJIg17pvGfGXgDL9YyBBXkYoZerieChp7gLQMS25vd24g"
    "YW5zd2VyiJAEExYIADgWIQTgcEPH7jMqGffre5bjNtXTiWsl2wUCOG1DgAIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAK"
    "CRDjNtXTiWsl25APAQCyJ3JGJoL+ccb6eCRyet5ahyNJ0vIPSOT9pj+qsRsF/gD+PDP1wiJXquau16zsq5J8TlLctTV99lW+"
    "L7O0liMTsQqciwQ4bUOAEgorBgEEAZdVAQUBAQdA2p3KptbT2d92JHgq9Afv6OgdifQH7MSZM6mfUeTivjQDAQgH/gkDCIjI"
    "wN4sBZnhYHr7DSWAFGX9YYn8lBjzcYjy5Gjy5Hesb0dPL3+5yXAK5N2Un+5662k4GmxJGxG90UWMb0t7ybJSebQbRPrG/nhK"
    "eowRxGWIeAQYFggAIBYhBOBwQ8fuMyoZ9+t7luM21dOJayXbBQI4bUOAAhsMAAoJEOM21dOJayXbqX0A/jHcmfS+rNNk06RP"
    "NidNGQotLF+4W30Kp+rsnTH82PQAAQCo8lKk8Fagoo6ktmXbrwFZ0NNR4AQWefoBTRPO5/NKAA=="
)
PUBLIC: Final = base64.b64decode(
    "mDMEOG1DgBYJKwYBBAHaRw8BAQdAV72KeJjfha76gnYa++aYBgdTOIACdFBzll3pln2xkSC0DEtub3duIGFuc3dlcoiQBBMW"
    "CAA4FiEE4HBDx+4zKhn363uW4zbV04lrJdsFAjhtQ4ACGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQ4zbV04lrJduQ"
    "DwEAsidyRiaC/nHG+ngkcnreWocjSdLyD0jk/aY/qrEbBf4A/jwz9cIiV6rmrtes7KuSfE5S3LU1ffZVvi+ztJYjE7EKuDgE"
    "OG1DgBIKKwYBBAGXVQEFAQEHQNqdyqbW09nfdiR4KvQH7+joHYn0B+zEmTOpn1Hk4r40AwEIB4h4BBgWCAAgFiEE4HBDx+4z"
    "Khn363uW4zbV04lrJdsFAjhtQ4ACGwwACgkQ4zbV04lrJdupfQD+MdyZ9L6s02TTpE82J00ZCi0sX7hbfQqn6uydMfzY9AAB"
    "AKjyUqTwVqCijqS2ZduvAVnQ01HgBBZ5+gFNE87n80oA"
)
MESSAGE: Final = base64.b64decode(
    "hF4DzYxpg/BxbjYSAQdAiV/kl5Xgbs+JzRJU8NFvtK/Hz9/mY1fO+Th111dEy0cw2E/55oN4d0a35kUwLhkcINNkEcVfEt7W"
    "coMLpxUrwLCyMA7FkT0LEg6YmTF6ZExQ0sADAc4Yzre+4Eez6kliXR2ZkYNi/b9ZAnYDEI0mY0Ku5PlNZPIaZ9bAdiy6rfLm"
    "oh077GXtiigrzZ2mS7l2Y8lRab40ROC8lDW3/aj9MjpM90C3SRgcGZdxhN2s+iiux5wvtoS5zscCDrtjUU1Jhd5sEph24ySn"
    "u3FsAHItsXPHTjSunvj6Nq+e0TkQ6MnysmMRvAOPszMOEvS3r2w9CQ90XI6tq07cBu8/uX33nod78m73nXl69K/HFD/doC0w"
    "jeET/4m9"
)
SIGNATURE: Final = base64.b64decode(
    "iHUEABYIAB0WIQTgcEPH7jMqGffre5bjNtXTiWsl2wUCOG1DgAAKCRDjNtXTiWsl2+oJAQCoNNQW0w5ETqlGKq6kKxmMsG8P"
    "Ag7lVSjFNoMp0p0FbAD/RrFs5QnMtikCaf418YnAJgE/RG6vCC2QWUT9r3XDvQA="
)
