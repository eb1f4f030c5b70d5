//! Where the API server has its objects.
//!
//! As `K::url_path` of kube, in one text: it is asked for with every request.

use crate::kube::kind::ApiObject;

/// The path of all objects of a kind, in a namespace or, if that is empty, in all.
pub(super) fn collection<K: ApiObject>(namespace: &str) -> String {
    let mut path = String::with_capacity(128);
    let group = K::group(&());
    let root: &[&str] = if group.is_empty() { &["/api/"] } else { &["/apis/", &group, "/"] };
    path.extend(root.iter().copied());
    path.push_str(&K::version(&()));
    if !namespace.is_empty() {
        path.extend(["/namespaces/", namespace]);
    }
    path.extend(["/", &K::plural(&())]);
    path
}

/// The path of an object, or of a subresource of it.
pub(super) fn object_path<K: ApiObject>(namespace: &str, name: &str, subresource: &str) -> String {
    let mut path = collection::<K>(namespace);
    path.extend(["/", name]);
    if !subresource.is_empty() {
        path.extend(["/", subresource]);
    }
    path
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::Lease;
    use k8s_openapi::api::core::v1::{Node, Pod};

    use super::*;
    use crate::kube::fluid::api::Dataset;

    #[test]
    fn objects_are_where_kube_says() {
        fn same<K: ApiObject>(namespace: &str) {
            let kube = K::url_path(&(), Some(namespace).filter(|namespace| !namespace.is_empty()));
            assert_eq!(collection::<K>(namespace), kube);
            assert_eq!(object_path::<K>(namespace, "o", ""), format!("{kube}/o"));
            assert_eq!(object_path::<K>(namespace, "o", "status"), format!("{kube}/o/status"));
        }
        same::<Node>("");
        same::<Pod>("");
        for namespace in ["default", "kube-system"] {
            same::<Pod>(namespace);
            same::<Lease>(namespace);
            same::<Dataset>(namespace);
        }
    }
}
