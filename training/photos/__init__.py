"""Photos and labels: from a folder of camera files to photos.csv, labels.csv and splits.csv."""
