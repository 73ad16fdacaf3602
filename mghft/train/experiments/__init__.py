"""Experiments as files: a table of systems, seeds and settings, run cell by cell and read as one table."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cells": ["Cell", "plan_cells"],
        "experiment": ["Experiment", "load_experiment"],
        "runner": ["run_experiment"],
        "table": ["ExperimentTable", "experiment_table"],
    },
)
