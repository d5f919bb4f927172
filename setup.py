"""What setup.cfg cannot say: ``experiments/`` is shipped inside of the package. All else stands there."""

from setuptools import find_packages, setup

CODE = find_packages(include=["apo_lightning*", "data_modules*", "callbacks*"])
SHIPPED = "apo_lightning._experiments"

setup(
    packages=[*CODE, SHIPPED],
    package_dir={SHIPPED: "experiments"},
    package_data={
        "apo_lightning": ["assets/**/*", "reports/templates/*", "starter/**/*.in", "**/*.yaml", "**/*.txt"],
        SHIPPED: ["**/*.yaml"],
    },
)
