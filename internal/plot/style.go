package plot

// style is the picture's. It has a background of its own, and another where the reader
// likes it dark; not all viewers know variables, so all of it is said twice.
const style = `
text{font-family:"Helvetica Neue",Helvetica,Arial,"Liberation Sans","DejaVu Sans",sans-serif;font-size:11px;fill:#59636e}
.title{font-size:17px;font-weight:600;fill:#1f2328}
.name,.head{font-size:12px;fill:#1f2328}
.head{font-weight:600}
.note{fill:#424a53}
.inside{fill:#ffffff}
.tick{font-size:10px}
.halo{stroke:#ffffff;stroke-opacity:.8;stroke-width:3px;stroke-linejoin:round;paint-order:stroke}
.paper{fill:#ffffff}
.frame{stroke:#d1d9e0}
.shade{fill:#f6f8fa}
.grid{stroke:#d1d9e0}
.tear{fill:none;stroke:#818b98}
line.mark{stroke:#818b98;stroke-dasharray:3 3}
line.ours{stroke:#1a7f37}
text.ours{fill:#1a7f37;font-weight:600}
.lens{fill:#1a7f37;fill-opacity:.07}
.system{fill:#8c959f}
.starting{fill:#218bff}
.active{fill:#c8e1ff}
rect.ours{fill:#116329}
.step{fill:#2da44e}
.waiting{fill:#9a6700}
.failed{fill:#cf222e}
@media (prefers-color-scheme:dark){
text{fill:#9198a1}
.title,.name,.head{fill:#f0f6fc}
.note{fill:#d1d7e0}
.inside{fill:#0d1117}
.halo{stroke:#0d1117}
.paper{fill:#0d1117}
.frame{stroke:#3d444d}
.shade{fill:#151b23}
.grid{stroke:#2a313c}
.tear,line.mark{stroke:#656c76}
line.ours{stroke:#3fb950}
text.ours{fill:#3fb950}
.lens{fill:#3fb950;fill-opacity:.1}
.system{fill:#656c76}
.starting{fill:#388bfd}
.active{fill:#16365f}
rect.ours{fill:#2ea043}
.step{fill:#56d364}
.waiting{fill:#d29922}
.failed{fill:#f85149}
}
`
