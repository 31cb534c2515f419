//! The examples, run as their readers run them.

#[path = "../../examples/custom_resource.rs"]
mod custom_resource;

#[test]
fn a_custom_resource() {
    custom_resource::main().unwrap();
}
