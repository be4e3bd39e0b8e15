r"""SHA-256 of the published files that are known; a download that differs is refused."""

MATRICES_SHA256 = {
    "amazon": {
        "trn_mat.pkl": "535cc15f915858a64249e3a893cceac9efe8e6f1ce17c08879a3c099c510b309",
        "val_mat.pkl": "90cd52a011f9b31081461a010e9bccb98d12a1dd7a7760085facbc7d1a2c46c3",
        "tst_mat.pkl": "c279ce551d32536ed90d916212bc0b891ce4c189ea7cfa5e4051e0dbfc728d17",
    },
    "movie": {
        "trn_mat.pkl": "717d292893f682b60e65f3be65d264e369570955e3c282d9764ec03e0bf0ada4",
        "val_mat.pkl": "8d7ae11adebf1038c33b8d2177462898f064fe83d2e86e5b57214e68c69fd9f3",
        "tst_mat.pkl": "16dd8fc78d04c97c15a640a11a567f4601e2163cd7c7a3943fe2c1c88cc9f30f",
    },
    "yelp": {
        "trn_mat.pkl": "2306f5b9de8f3dd3342744d937a45b04abd22ede422304a549fb324e12e5f6bd",
        "val_mat.pkl": "33aaf3bd27bd25d7d3e8223700fbd2d5400feec217c9ce09c87785460bcb355b",
        "tst_mat.pkl": "3007de4f5955223bf7752f59cadb3b069d92acb879987e7eee286f252772a564",
    },
}
