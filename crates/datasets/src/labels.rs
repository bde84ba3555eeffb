//! Labels as files hold them → classes from 0 on.
//!
//! Refuses what would shift classes or mix them up without a word: tables of labels, and labels that start at 1.

use crate::DatasetError;

/// Most classes of a data set.
pub(crate) const MAX_CLASSES: usize = 1 << 16;

/// Labels of one split, and the file that they are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawLabels {
    pub(crate) place: String,
    pub(crate) labels: Vec<i128>,
}

impl RawLabels {
    /// Labels of an array `[N]`, `[N, 1]`, or of one column of `[N, k]`.
    ///
    /// # Errors
    /// If it is a table and no column, or none of its columns, was asked for.
    pub(crate) fn of_array(
        place: String,
        labels: Vec<i128>,
        shape: &[usize],
        column: Option<usize>,
    ) -> Result<Self, DatasetError> {
        let refused = |place: &str, found: String, remedy: &str| {
            Err(DatasetError::Refused { place: place.to_owned(), found, remedy: remedy.to_owned() })
        };
        match (shape, column) {
            ([_] | [_, 1], None | Some(0)) => Ok(Self { place, labels }),
            (&[_, n_columns], Some(column)) if column < n_columns => {
                let labels = labels.into_iter().skip(column).step_by(n_columns).collect();
                Ok(Self { place, labels })
            }
            (&[n, n_columns], None) => {
                let is_one_hot = |row: &[i128]| {
                    row.iter().filter(|&&value| value == 1).count() == 1 && row.iter().sum::<i128>() == 1
                };
                let remedy = if n_columns > 0 && labels.chunks(n_columns).all(is_one_hot) {
                    "rows with a single 1 are no labels: write the place of the 1 (`labels.argmax(1)`) instead"
                } else {
                    "set data.label_column to the column that holds the class (0 in QMNIST)"
                };
                refused(&place, format!("labels are a table of shape [{n}, {n_columns}]"), remedy)
            }
            (_, None) => {
                refused(&place, format!("labels are of shape {shape:?}"), "write one label for each image, shape [N]")
            }
            (_, Some(column)) => refused(
                &place,
                format!("labels are of shape {shape:?}, without a column {column}"),
                "leave data.label_column out, or set it to a column there is",
            ),
        }
    }
}

/// Classes of the samples of each split, and how many classes there are.
pub(crate) type Classes = (Vec<Option<Vec<u16>>>, usize);

/// Classes of the labels of all splits, from 0 on, and how many classes there are.
///
/// - `names`: those of the classes, if the files give them
/// - `first`: label of the first class, if the configuration gives it
///
/// # Errors
/// If a label is no class, or if all labels from 1 on occur but none is 0 and nobody said what that means.
pub(crate) fn classes(
    splits: Vec<Option<RawLabels>>,
    names: Option<usize>,
    first: Option<usize>,
) -> Result<Classes, DatasetError> {
    if first.is_none() {
        refuse_from_one(splits.iter().flatten(), names)?;
    }
    let first = first.unwrap_or(0);
    let n_classes = names.unwrap_or(MAX_CLASSES).min(MAX_CLASSES);
    let of_split = |RawLabels { place, labels }| -> Result<Vec<u16>, DatasetError> {
        let class = |(index, label): (usize, i128)| {
            let class = label.checked_sub(first as i128).and_then(|class| u16::try_from(class).ok());
            class.filter(|&class| usize::from(class) < n_classes).ok_or_else(|| DatasetError::LabelOutOfRange {
                place: String::clone(&place),
                index,
                label,
                first,
                n_classes,
            })
        };
        labels.into_iter().enumerate().map(class).collect()
    };
    let splits: Vec<Option<Vec<u16>>> =
        splits.into_iter().map(|split| split.map(of_split).transpose()).collect::<Result<_, _>>()?;
    let largest = splits.iter().flatten().flatten().max().copied().unwrap_or(0);
    Ok((splits, names.unwrap_or(usize::from(largest) + 1)))
}

/// - `names`: number of classes that have names, if they have
fn refuse_from_one<'a>(
    splits: impl Iterator<Item = &'a RawLabels> + Clone,
    names: Option<usize>,
) -> Result<(), DatasetError> {
    let labels = splits.clone().flat_map(|split| &split.labels).copied();
    let (Some(smallest), Some(largest)) = (labels.clone().min(), labels.clone().max()) else { return Ok(()) };
    if smallest != 1 || !(2..=MAX_CLASSES as i128).contains(&largest) {
        return Ok(());
    }
    let mut occurs = vec![false; largest as usize + 1];
    labels.for_each(|label| occurs[label as usize] = true);
    // A class without samples may be missing, be it the first one: names tell.
    let is_named = names.is_some_and(|n_names| largest < n_names as i128);
    if is_named || !occurs[1..].iter().all(|occurs| *occurs) {
        return Ok(());
    }
    let place = splits.map(|split| split.place.as_str()).next().unwrap_or_default();
    Err(DatasetError::LabelsFromOne { place: place.to_owned(), last: largest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(labels: &[i128]) -> RawLabels {
        RawLabels { place: "y".to_owned(), labels: labels.to_vec() }
    }

    fn of(labels: &[i128], names: Option<usize>, first: Option<usize>) -> Result<(Vec<u16>, usize), DatasetError> {
        let (mut splits, n_classes) = classes(vec![Some(raw(labels)), None], names, first)?;
        Ok((splits.remove(0).expect("a split"), n_classes))
    }

    #[test]
    fn labels_that_start_at_1_are_refused_unless_somebody_says_what_they_mean() {
        let error = of(&[3, 1, 2, 2], None, None).unwrap_err().to_string();
        assert_eq!(
            error,
            "y: labels run from 1 to 3, and none is 0; set data.first_label = 1 if 1 is the first of 3 classes, \
             or 0 if it is the second of 4"
        );
        assert_eq!(of(&[3, 1, 2, 2], None, Some(1)).unwrap(), (vec![2, 0, 1, 1], 3));
        assert_eq!(of(&[3, 1, 2, 2], None, Some(0)).unwrap(), (vec![3, 1, 2, 2], 4));
        assert_eq!(of(&[3, 1, 2, 2], Some(4), None).unwrap(), (vec![3, 1, 2, 2], 4));
        // Classes are missing in the middle, so one may be at the start.
        assert_eq!(of(&[3, 1], None, None).unwrap(), (vec![3, 1], 4));
        // The other split has class 0.
        let (splits, n_classes) = classes(vec![Some(raw(&[1, 2])), Some(raw(&[0]))], None, None).unwrap();
        assert_eq!((splits, n_classes), (vec![Some(vec![1, 2]), Some(vec![0])], 3));
        let error = of(&[0, 1], None, Some(1)).unwrap_err().to_string();
        assert!(error.contains("label 0 of sample 0 (from 0) is below the first one, 1"), "{error}");
    }

    #[test]
    fn up_to_65536_classes_are_told_apart() {
        assert_eq!(of(&[0, 65_535], None, None).unwrap(), (vec![0, 65_535], 65_536));
        let error = of(&[0, 65_536], None, None).unwrap_err();
        assert!(matches!(error, DatasetError::LabelOutOfRange { index: 1, label: 65_536, n_classes: 65_536, .. }));
        assert!(of(&[i128::MIN], None, Some(7)).is_err() && of(&[-1], None, None).is_err());
    }

    #[test]
    fn a_column_of_labels_is_a_list_and_a_table_needs_to_be_told_which() {
        let of = |labels: &[i128], shape: &[usize], column| {
            RawLabels::of_array("y".to_owned(), labels.to_vec(), shape, column).map(|raw| raw.labels)
        };
        assert_eq!(of(&[4, 2], &[2], None).unwrap(), [4, 2]);
        assert_eq!(of(&[4, 2], &[2, 1], None).unwrap(), [4, 2]);
        assert_eq!(of(&[4, 9, 2, 8], &[2, 2], Some(0)).unwrap(), [4, 2]);
        assert_eq!(of(&[4, 9, 2, 8], &[2, 2], Some(1)).unwrap(), [9, 8]);
        let table = of(&[4, 9, 2, 8], &[2, 2], None).unwrap_err().to_string();
        assert!(table.contains("y: labels are a table of shape [2, 2]; set data.label_column"), "{table}");
        let one_hot = of(&[0, 1, 1, 0], &[2, 2], None).unwrap_err().to_string();
        assert!(one_hot.contains("rows with a single 1 are no labels: write the place of the 1"), "{one_hot}");
        let beyond = of(&[4, 9], &[1, 2], Some(2)).unwrap_err().to_string();
        assert!(beyond.contains("labels are of shape [1, 2], without a column 2; leave"), "{beyond}");
        assert!(of(&[4, 9], &[1, 2, 1], None).unwrap_err().to_string().contains("shape [N]"));
    }
}
