"""Surgery on networks: layers and channels removed, merged or factored, and other ways to run the same layers.

There are two kinds. Which one a module of this room does is the first thing to know of it.

**Permanent edits.** The network is another one afterwards, and everything that keeps it (the run's file, the store)
keeps the edit: as data of a fixed list of kinds (`edits.EditKind`), by the path of the module. Edited modules carry a
mark, so copies carry the edits, too; `edits.edits_of` reads them and `rebuild.apply_edits` makes them again on a fresh
network. An edit never grows a network, but for one bias a layer, so that what a file says can't take more memory than
the network it is read into.

=================  ===================================================  =============================================
module             what it does                                         what it checks
=================  ===================================================  =============================================
`batch_norms`      `fold_batch_norms` into the layers before them       that nothing else uses a layer's output
`channels`         `remove_channels`, with all that goes with each;     the outputs against those where nothing
                   what can't go stays whole and is named               reads the channels
`channel_trace`    follows channels through one forward pass, operation by operation (`calls`, `operations`,
                   `movements`), with a label for each (`channel_labels`)
`channel_groups`   from a trace, which channels go together; `touched`: what each layer does with them
`resizing`         layers left with some places, or as if the others were not there; both can be undone
`shuffle` ...      which channels can go through a channel shuffle;     that every group keeps as many as the others
`shuffled_...`     the same for the layers on both sides of it
`dead_units`       `remove_dead_units`: without inputs or readers       that the outputs stay as they were
`head_removal`     `remove_heads` of attention; which tensors go with   the outputs against those with zeros in the
                   each: `attention_heads`; what runs with fewer where  place of the heads, layer by layer
                   torch's attention can't: `attention_forwards`
`factorized`       a layer as a chain of smaller ones (`Factored`)      the shapes, before anything is allocated
`decomposition`    the weights of such a chain (SVD, spatial, Tucker)   that the weight is finite
`rewritten`        a convolution as a chain of cheaper ones             the shapes, before anything is allocated
`convolutions`     which can be; `redrawn`: values for the chains
`merged_blocks`    a sequence of blocks whose tokens merge on the way   that its blocks have the modules that are named
                   (`token_merging`: how)
`token_blocks`     finds such blocks, by what they do            that they give their bits as two halves
`edits`            `remove_module`, `replace_module`, `add_bias`,       that a changed layer can be rebuilt
                   `record_changes` after other surgery
=================  ===================================================  =============================================

**Temporary ways of running.** Context managers: the network's modules, names and parameters stay where they are, and
when the context ends (by an error, too) nothing is left of it. They promise the same results but for rounding, and run
the modules as they are where they can't do better.

=================  ==================================================================================================
`fusion`           `fused`: batch norm, pooling and ReLU in one pass over the maps (its loops: `fused_kernels`)
`held_masks`       `masked_after_steps`: masks act after each step of the optimiser, not in every forward pass
`merged_blocks`    `merging_off`: no tokens merge, blocks are called one by one
`shuffled_...`     `shuffles_replaced`: channel shuffles return what they are told to while a network is followed
=================  ==================================================================================================

How it is written: surgery works in place, on a copy that its caller has made, and takes an input where it has to see
the network run. It leaves every module's mode and which parameters train as they were (`compression.modes`). What it
has to see it watches through `watch`, whose hooks are gone afterwards. Names say what is done: find_… changes nothing,
remove_…, fold_…, replace_… and add_… change the network. What does not fit is a ValueError that does not name the
network: its caller, a stage, does.

To add another: write the module here, with its check. If it only resizes layers, `record_changes` marks them; if it
replaces modules by something else, that something is a new `EditKind`, which `edits` has to describe (`edit_at`,
`n_widths`) and `rebuild` to make, and whose number stands in files for good.
"""
