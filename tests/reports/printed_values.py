"""Made-up cells of a published table."""

from reports.published import PublishedValue


def printed(text, std_text="", n=None, unit="%"):
    return PublishedValue(
        paper="balenas",
        table="1",
        method="a method",
        space="NB201",
        dataset="CIFAR-10",
        split="test",
        metric="accuracy",
        mean=float(text) if text else None,
        std=float(std_text) if std_text else None,
        n=n,
        unit=unit,
        note="",
        text=text,
        std_text=std_text,
    )
