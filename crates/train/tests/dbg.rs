use burn::module::{Module as _, Param};
use burn::tensor::*;
use model::{Architecture, LayerKind, Backend};
use model::network::{Network, values};
use burn::optim::*;
#[test]
fn dbg() {
    let d = Backend::Flex.device().unwrap();
    let a = d.clone().autodiff();
    let arch = Architecture::new([1,1,2], &[LayerKind::Flatten, LayerKind::Dense{units:3}]).unwrap();
    d.seed(1); let n1 = Network::new(&arch, &d); println!("{:?}", n1.tensors());
    a.seed(1); let n2 = Network::new(&arch, &a); println!("{:?}", n2.tensors());
    println!("{:?}", n2.clone().valid().tensors());
    let x = Tensor::<2>::from_floats([[1.0,0.5],[0.25,0.75]], &a);
    let mut o = SgdConfig::new().with_momentum(Some(burn::optim::momentum::MomentumConfig::new().with_dampening(0.0))).init();
    let l = n2.forward(x.clone()).sum();
    let g = l.backward();
    let g = GradientsParams::from_grads(g, &n2);
    println!("grads {}", g.len());
    let n3 = o.step(0.1, n2.clone(), g);
    println!("{:?}", n3.tensors());
    println!("ids2 {:?}", n2.param_ids()); println!("ids3 {:?}", n3.param_ids());
    let f = tempdir();
    n3.clone().save_file(f.join("n.bpk")).unwrap(); o.save(f.join("o.bpk")).unwrap();
    let n4 = Network::new(&arch,&a); println!("ids4 {:?}", n4.param_ids());
    let n4 = n4.try_load_file(f.join("n.bpk")).unwrap(); println!("ids4 {:?}", n4.param_ids());
    println!("{}", n4.tensors()==n3.tensors());
    let mut o4 = SgdConfig::new().with_momentum(Some(burn::optim::momentum::MomentumConfig::new().with_dampening(0.0))).init().load(f.join("o.bpk")).unwrap();
    let step = |n: Network, o: &mut ModuleOptimizer| { let l = n.forward(x.clone()).sum(); let g = GradientsParams::from_grads(l.backward(), &n); o.step(0.1, n, g)};
    let r3 = step(n3, &mut o); let r4 = step(n4, &mut o4);
    println!("{:?}\n{:?}", r3.tensors(), r4.tensors());
    let r3 = step(r3, &mut o); let r4 = step(r4, &mut o4);
    println!("{:?}\n{:?}", r3.tensors(), r4.tensors());
    let _ = values(Tensor::<1>::zeros([1], &d)); let _: Option<Param<Tensor<1>>> = None;
}
fn tempdir() -> std::path::PathBuf { let p = std::path::PathBuf::from("/tmp/dbgtrain"); std::fs::create_dir_all(&p).unwrap(); p }
