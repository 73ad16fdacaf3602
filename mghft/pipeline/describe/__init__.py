"""The describe run: stickers in, rows with four views out; it can be stopped anywhere and goes on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["CorpusSource", "DescribeConfig", "RunOptions", "build_describe_config"],
        "estimate": ["Estimate"],
        "live": ["LiveDescriber", "LiveViews"],
        "prepare": ["EngineRun", "PreparedRun", "own_share", "prepare_run", "settle_engine"],
        "requests": ["PackQuestions", "Questions"],
        "run": ["describe", "execute_run"],
    },
)
