//! The examples, run as their readers run them.

#[path = "../../examples/controller.rs"]
mod controller;
#[path = "../../examples/custom_resource.rs"]
mod custom_resource;

#[test]
fn a_custom_resource() {
    custom_resource::main().unwrap();
}

#[test]
fn a_controller_puts_right_what_somebody_changes() {
    controller::main().unwrap();
}
